// Package collision has a thousand clients that chose the same source port and
// meet at one endpoint. Where weir takes their address for its own, the ports
// have to differ behind it: none of the clients may lose for another's choice.
package collision
