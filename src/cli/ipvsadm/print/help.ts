/** What `ipvsadm -h` and `-v` print. */

export const versionText = (version: string): string =>
  `ipvsadm v1.31 2019/12/24 (viaduct ${version} and IPVS v1.2.1)\n`;

export const helpText = (program: string, version: string): string => `${versionText(version)}Usage:
  ${program} -A|E SERVICE [-s SCHEDULER] [-p [SECONDS]] [-M MASK] [--pe ENGINE] [-b FLAGS] [-o]
  ${program} -D SERVICE
  ${program} -C
  ${program} -R [--replace] [--json]
  ${program} -S [-n] [--replace] [--json]
  ${program} -a|e SERVICE -r SERVER [-g|-i|-m] [-w WEIGHT] [-x UPPER] [-y LOWER] [tunnel options]
  ${program} -d SERVICE -r SERVER
  ${program} -L|l [SERVICE] [list options]
  ${program} -Z [SERVICE]
  ${program} --set TCP TCPFIN UDP
  ${program} --start-daemon master|backup [daemon options]
  ${program} --stop-daemon master|backup
  ${program} -h

Commands
  -A, --add-service           add a virtual service
  -E, --edit-service          change one
  -D, --delete-service        remove one
  -C, --clear                 remove all of them
  -R, --restore               read rules from stdin: all of them, or none where one can't be
  -S, --save                  print the rules
  -a, --add-server            add a destination to a service
  -e, --edit-server           change one
  -d, --delete-server         remove one
  -L, -l, --list              print the services
  -Z, --zero                  set counts to zero, of a service or of all
      --set                   seconds until an idle TCP connection, a closing one, a UDP flow ends; 0: as it is
      --start-daemon          start telling (master) or hearing (backup) other directors of connections
      --stop-daemon           and stop
  -h, --help
  -v, --version

SERVICE
  -t, --tcp-service HOST[:PORT]
  -u, --udp-service HOST[:PORT]
      --sctp-service HOST[:PORT]
  -f, --fwmark-service MARK   packets with this mark; with -6 those of IPv6
  -6, --ipv6

Of a service
  -s, --scheduler             rr wrr lc wlc fo ovf lblc lblcr dh sh mh sed nq twos p2c; wlc unless it is said
  -p, --persistent [SECONDS]  a client stays at its destination; 360 seconds unless it is said
  -M, --netmask MASK          how much of an address is one client: 255.255.255.0, for IPv6 64
      --pe sip                it stays by SIP's Call-ID
  -b, --sched-flags LIST      sh-fallback, sh-port, mh-fallback, mh-port
  -o, --ops                   UDP: each packet for itself

Of a destination
  -r, --real-server HOST[:PORT]
  -g, --gatewaying            it answers itself, on the same link; so unless it is said
  -i, --ipip                  likewise, through a tunnel
  -m, --masquerading          addresses are translated
      --tun-type ipip|gue|gre, --tun-port PORT, --tun-nocsum, --tun-csum, --tun-remcsum
  -w, --weight                1 unless it is said; 0: no new connections
  -x, --u-threshold           connections from which on it gets no more
  -y, --l-threshold           and below which it does again

Of a list
  -n, --numeric               addresses and ports as numbers
  -c, --connection            connections instead of services
      --timeout, --daemon     timeouts, synchronisation daemons instead of services
      --stats, --rate, --thresholds, --persistent-conn, --tun-info
      --exact, -X             numbers in full
      --nosort, --sort

Of a daemon
      --mcast-interface NAME, --mcast-group ADDRESS, --mcast-port PORT, --mcast-ttl TTL
      --syncid ID, --sync-maxlen BYTES

Beyond ipvsadm
      --json                  print, save or restore as JSON, with all that there is
      --replace               with -R: the rules are the whole state, what isn't in them goes; with -S: such rules
      --network NAME          services of an overlay network instead of the host's own
      --socket PATH           control socket (or VIADUCT_SOCKET; /run/viaduct/dataplane.sock otherwise)
`;
