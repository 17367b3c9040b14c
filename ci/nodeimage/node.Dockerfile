# The node image: one layer, then what kind's own image says.
FROM scratch
ADD root.tar /
# systemd looks for this to know that it is in a container.
ENV container=docker
# systemd ends on SIGRTMIN+3; SIGTERM makes it start anew.
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]
