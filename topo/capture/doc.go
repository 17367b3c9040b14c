// Package capture records what crosses an interface, with what tcpdump does not tell: whether a frame's L4 checksum was
// complete, and whether it came in or went out.
//
// A capture sees a frame where AF_PACKET does: on the way in after native XDP (frames that XDP dropped, transmitted or
// redirected are invisible here: capture at the other end of the veth) and before TC; on the way out after TC, netfilter
// and segmentation offload's decision. Frames that were merged (GRO) or are yet to be cut (GSO) show as one of up to
// 64 KiB. VLAN tags that the kernel has taken off stay off.
package capture
