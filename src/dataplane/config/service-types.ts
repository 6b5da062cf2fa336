/**
 * The wanted virtual server as a passive value, every default filled in. The words are ipvsadm's where it has them
 * (docs: ipvsadm(8)); what it lacks is beside them.
 */

/** p2c: the less busy one of two that are drawn. */
export const SCHEDULERS = [
  ...([
    'rr',
    'wrr',
    'lc',
    'wlc',
    'fo',
    'ovf',
    'lblc',
    'lblcr',
    'dh',
    'sh',
    'mh',
    'sed',
    'nq',
    'twos',
  ] as const),
  'p2c',
] as const;
export type SchedulerName = (typeof SCHEDULERS)[number];

/** Those of sh and mh belong to them alone; the numbered ones are kept for schedulers that have no names for them. */
export const SCHEDULER_FLAGS = [
  ...(['sh-fallback', 'sh-port', 'mh-fallback', 'mh-port'] as const),
  ...(['flag-1', 'flag-2', 'flag-3'] as const),
] as const;
export type SchedulerFlag = (typeof SCHEDULER_FLAGS)[number];

export interface Service {
  /** tcp://10.0.0.1:80, udp://[fd00::1]:53, sctp://…; mark://7 and mark6://7 for packets that carry a mark */
  readonly listen: string;
  /** name of the overlay network whose clients it serves; null: the host's own side */
  readonly network: string | null;
  readonly scheduler: SchedulerName;
  readonly schedulerFlags: readonly SchedulerFlag[];
  /** slots of Maglev's table, a prime */
  readonly maglevTableSize: number;
  readonly persistence: Persistence | null;
  /** UDP: each packet is scheduled for itself, no connection is kept */
  readonly onePacket: boolean;
  readonly timeouts: ServiceTimeouts;
  /** a connection that expires while idle is answered with RST to both sides */
  readonly resetOnExpiry: boolean;
  /** flows of a destination that was removed: at their next packet TCP is reset, UDP scheduled again */
  readonly rescheduleRemoved: boolean;
  /** answers SYNs with cookies and lets only clients through that echo them; needs destinations with forward: nat */
  readonly synProxy: boolean;
  /** new connections a second and at once from one source, an address or an IPv6 /64; null: no limit */
  readonly sourceRate: { readonly perSecond: number; readonly burst: number } | null;
  /** prefixes from which connections are taken; empty: from everywhere */
  readonly allow: readonly string[];
  /** a destination that comes (back) gets its full share after so long */
  readonly slowStartSeconds: number;
  /** destinations on this node first; others take over what is above the near ones' upper thresholds */
  readonly preferNear: boolean;
  /** weights of the usable destinations that must be there; fewer: the sorry server answers */
  readonly quorum: number;
  /** weights that must be missing or back beyond the quorum before it is said to be lost or reached */
  readonly quorumHysteresis: number;
  readonly sorryServer: Destination | null;
  readonly destinations: readonly Destination[];
  readonly health: Health | null;
}

export interface Persistence {
  readonly timeoutSeconds: number;
  /** prefix length of the client's address that counts as one client: 1..32, of IPv6 1..128 */
  readonly mask: number;
  /** 'sip': by Call-ID */
  readonly engine: 'sip' | null;
}

/** null: as the data plane's own (`ipvsadm --set`) */
export interface ServiceTimeouts {
  readonly tcpSeconds: number | null;
  readonly tcpFinSeconds: number | null;
  readonly udpSeconds: number | null;
}

export const FORWARDS = ['nat', 'route', 'tunnel'] as const;
export const TUNNELS = ['ipip', 'gue', 'gre'] as const;
export const TUNNEL_CHECKSUM_MODES = ['none', 'checksum', 'remote'] as const;

export interface Destination {
  /** 10.0.0.2:8080, [fd00::2]:8080; port 0: as the client sent to. Written without a port, it is the service's */
  readonly address: string;
  readonly weight: number;
  readonly forward: (typeof FORWARDS)[number];
  readonly tunnel: {
    readonly type: (typeof TUNNELS)[number];
    /** UDP port of GUE; 0 otherwise */
    readonly port: number;
    readonly checksum: (typeof TUNNEL_CHECKSUM_MODES)[number];
  };
  readonly upperThreshold: number;
  readonly lowerThreshold: number;
  /** it runs on this node */
  readonly near: boolean;
}

export type Health = {
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** failures in a row until a destination is out, successes until it is in again */
  readonly fall: number;
  readonly rise: number;
  /** instead of being removed, a destination that is out gets weight 0 */
  readonly inhibitOnFailure: boolean;
  /** port to check; null: the destination's */
  readonly port: number | null;
  /** passive: resets and timeouts of the data path in one interval that count as a failure; 0: don't look */
  readonly passiveFailures: number;
} & HealthKind;

export type HealthKind =
  | { readonly kind: 'tcp' }
  | { readonly kind: 'icmp' }
  | {
      readonly kind: 'http' | 'https';
      readonly path: string;
      readonly host: string | null;
      /** status codes that are good: 200, or 200-299,401 */
      readonly status: string;
      /** MD5 of the body, as genhash prints it */
      readonly digest: string | null;
      readonly regex: string | null;
    }
  | { readonly kind: 'smtp'; readonly helo: string }
  | { readonly kind: 'dns'; readonly name: string; readonly type: string }
  /** payload: bytes in hexadecimal */
  | { readonly kind: 'udp'; readonly payload: string; readonly requireReply: boolean }
  | { readonly kind: 'script'; readonly command: readonly string[]; readonly dynamicWeight: boolean };

/** Timeouts and defence of the whole virtual server: `ipvsadm --set` and net.ipv4.vs.*, under its names. */
export interface VirtualServer {
  readonly tcpSeconds: number;
  readonly tcpFinSeconds: number;
  readonly udpSeconds: number;
  readonly dropEntry: 0 | 1 | 2 | 3;
  readonly dropPacket: 0 | 1 | 2 | 3;
  readonly secureTcp: 0 | 1 | 2 | 3;
  readonly dropRate: number;
  readonly expireNodestConn: boolean;
  readonly expireQuiescentTemplate: boolean;
  readonly sloppyTcp: boolean;
  readonly connReuseMode: number;
  /** connections that the table holds */
  readonly connections: number;
  /** tells other directors of connections, or hears of theirs (`ipvsadm --start-daemon`) */
  readonly sync: { readonly [R in SyncRole]: SyncDaemon | null };
}

export const SYNC_ROLES = ['master', 'backup'] as const;
export type SyncRole = (typeof SYNC_ROLES)[number];

export interface SyncDaemon {
  readonly interface: string;
  /** 0..255; a backup with 0 takes any */
  readonly syncId: number;
  /** multicast group */
  readonly group: string;
  readonly port: number;
  readonly ttl: number;
  /** bytes of a message */
  readonly maxLength: number;
  /** addresses of the other directors: messages go to each of them, and come from them alone, instead of the group */
  readonly peers?: readonly string[] | undefined;
  /** file with 32 bytes in hexadecimal digits, the same on all directors: messages are sealed, and what is lost is sent again */
  readonly keyFile?: string | undefined;
}
