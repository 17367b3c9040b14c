/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Wire format of SCTP (RFC 9260, 3), as much as is looked at. */
#ifndef WEIR_LIB_SCTP_H
#define WEIR_LIB_SCTP_H

#include <linux/types.h>

struct sctphdr {
	__be16 source;
	__be16 dest;
	__be32 vtag;
	__le32 crc;
};

struct sctp_chunk {
	__u8 type;
	__u8 flags;
	__be16 length;
};

struct sctp_parameter {
	__be16 type;
	__be16 length; /* of type, length and value; padding to 4 bytes is not in it */
};

enum sctp_chunk_type {
	SCTP_INIT = 1,
	SCTP_INIT_ACK = 2,
	SCTP_ABORT = 6,
	SCTP_SHUTDOWN_COMPLETE = 14,
};

/* Bytes of INIT and INIT ACK between the chunk header and the parameters. */
#define SCTP_INIT_FIXED 16

enum sctp_parameter_type {
	SCTP_PARAM_IPV4 = 5,
	SCTP_PARAM_IPV6 = 6,
	SCTP_PARAM_HOSTNAME = 11,
	SCTP_PARAM_PADDING = 0x8005, /* RFC 4820: skipped by whoever does not know it */
};

#endif /* WEIR_LIB_SCTP_H */
