/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Enums reach Go through BTF, and only types of something that exists are in
 * BTF: a constant of each. Nothing reads them.
 */
#ifndef WEIR_LIB_ENUMS_H
#define WEIR_LIB_ENUMS_H

#include "lib/counters.h"
#include "lib/types.h"

const enum hook hook_end = HOOK_END;
const enum counter counter_end = COUNTER_END;
const enum flow_state flow_state_end = FLOW_CLOSING;
const enum flow_flags flow_flags_end = FLOW_ANSWERED;
const enum vip_flags vip_flags_end = VIP_RETIRED;
const enum service_mode service_mode_end = MODE_FULLNAT;
const enum service_flags service_flags_end = SERVICE_SOURCES;
const enum service_algorithm service_algorithm_end = ALGORITHM_HASH;
const enum backend_flags backend_flags_end = BACKEND_RETIRED;
const enum nexthop_flags nexthop_flags_end = NEXTHOP_REDIRECT;
const enum device_flags device_flags_end = DEVICE_EGRESS;

#endif /* WEIR_LIB_ENUMS_H */
