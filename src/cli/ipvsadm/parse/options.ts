/**
 * ipvsadm's options: how each is written, and which go with which command. The words in quotes in its error texts
 * (`optnames`, `cmdnames`) are the names here.
 */
import type { OptionSpec } from './tokens.js';

/** Those that say what to do; the first one on the line decides. */
export const COMMANDS = {
  add: 'add-service',
  edit: 'edit-service',
  delete: 'delete-service',
  flush: 'flush',
  list: 'list',
  addServer: 'add-server',
  deleteServer: 'delete-server',
  editServer: 'edit-server',
  set: 'set',
  startDaemon: 'start-daemon',
  stopDaemon: 'stop-daemon',
  restore: 'restore',
  save: 'save',
  zero: 'zero',
} as const;
export type CommandName = keyof typeof COMMANDS;

const flag = (tag: string, long: string, short?: string): OptionSpec => ({
  tag,
  long,
  short,
  takes: 'nothing',
});
const text = (tag: string, long: string, short?: string): OptionSpec => ({ tag, long, short, takes: 'text' });

export const OPTIONS: readonly OptionSpec[] = [
  ...[
    flag('add', 'add-service', 'A'),
    flag('edit', 'edit-service', 'E'),
    flag('delete', 'delete-service', 'D'),
  ],
  ...[
    flag('flush', 'clear', 'C'),
    flag('list', 'list', 'L'),
    flag('list', 'list', 'l'),
    flag('zero', 'zero', 'Z'),
  ],
  ...[flag('addServer', 'add-server', 'a'), flag('editServer', 'edit-server', 'e')],
  ...[flag('deleteServer', 'delete-server', 'd'), flag('set', 'set'), flag('restore', 'restore', 'R')],
  ...[flag('save', 'save', 'S'), text('startDaemon', 'start-daemon'), text('stopDaemon', 'stop-daemon')],
  ...[flag('help', 'help', 'h'), flag('version', 'version', 'v')],

  ...[text('tcp', 'tcp-service', 't'), text('udp', 'udp-service', 'u'), text('sctp', 'sctp-service')],
  ...[text('mark', 'fwmark-service', 'f'), flag('ipv6', 'ipv6', '6'), text('scheduler', 'scheduler', 's')],
  { tag: 'persistent', long: 'persistent', short: 'p', takes: 'maybe' },
  ...[
    text('netmask', 'netmask', 'M'),
    flag('ops', 'ops', 'o'),
    text('pe', 'pe'),
    text('flags', 'sched-flags', 'b'),
  ],

  ...[text('server', 'real-server', 'r'), flag('nat', 'masquerading', 'm'), flag('tunnel', 'ipip', 'i')],
  ...[flag('route', 'gatewaying', 'g'), text('weight', 'weight', 'w'), text('upper', 'u-threshold', 'x')],
  ...[text('lower', 'l-threshold', 'y'), text('tunType', 'tun-type'), text('tunPort', 'tun-port')],
  ...[flag('tunNocsum', 'tun-nocsum'), flag('tunCsum', 'tun-csum'), flag('tunRemcsum', 'tun-remcsum')],

  ...[flag('numeric', 'numeric', 'n'), flag('connection', 'connection', 'c'), flag('timeout', 'timeout')],
  ...[
    flag('daemon', 'daemon'),
    flag('stats', 'stats'),
    flag('rate', 'rate'),
    flag('thresholds', 'thresholds'),
  ],
  ...[flag('persistentConn', 'persistent-conn'), flag('tunInfo', 'tun-info'), flag('nosort', 'nosort')],
  ...[flag('sort', 'sort'), flag('exact', 'exact', 'X')],

  ...[text('interface', 'mcast-interface'), text('syncId', 'syncid'), text('group', 'mcast-group')],
  ...[text('mcastPort', 'mcast-port'), text('ttl', 'mcast-ttl'), text('maxLength', 'sync-maxlen')],

  // Ours.
  ...[flag('json', 'json'), flag('replace', 'replace'), text('network', 'network'), text('socket', 'socket')],
];

/** In the order in which ipvsadm looks at them. Ours come last. */
export const NAMES = [
  ...([
    'numeric',
    'connection',
    'service-address',
    'scheduler',
    'persistent',
    'netmask',
    'real-server',
  ] as const),
  ...(['forwarding-method', 'weight', 'u-threshold', 'l-threshold', 'mcast-interface', 'timeout'] as const),
  ...([
    'daemon',
    'stats',
    'rate',
    'thresholds',
    'persistent-conn',
    'nosort',
    'syncid',
    'exact',
    'ops',
  ] as const),
  ...(['pe', 'sched-flags', 'mcast-group', 'mcast-port', 'mcast-ttl', 'sync-maxlen', 'tun-info'] as const),
  ...(['tun-type', 'tun-port', 'tun-nocsum', 'tun-csum', 'tun-remcsum'] as const),
  ...(['json', 'replace', 'network', 'socket'] as const),
] as const;
export type OptionName = (typeof NAMES)[number];

interface Legal {
  needs?: readonly OptionName[];
  takes?: readonly OptionName[];
  /** only one of them at a time */
  oneOf?: readonly OptionName[];
}

const ALWAYS: readonly OptionName[] = ['json', 'network', 'socket'];

const SERVICE: Legal = {
  needs: ['service-address'],
  takes: ['scheduler', 'persistent', 'netmask', 'ops', 'pe', 'sched-flags'],
};
const TUNNEL: readonly OptionName[] = ['tun-type', 'tun-port', 'tun-nocsum', 'tun-csum', 'tun-remcsum'];
const SERVER: Legal = {
  needs: ['service-address', 'real-server'],
  takes: ['forwarding-method', 'weight', 'u-threshold', 'l-threshold', ...TUNNEL],
};

const LEGAL: Readonly<Record<CommandName, Legal>> = {
  add: SERVICE,
  edit: SERVICE,
  delete: { needs: ['service-address'] },
  flush: {},
  list: {
    takes: [
      ...([
        'numeric',
        'stats',
        'rate',
        'thresholds',
        'persistent-conn',
        'nosort',
        'syncid',
        'exact',
      ] as const),
      'tun-info',
    ],
    oneOf: ['connection', 'service-address', 'timeout', 'daemon'],
  },
  addServer: SERVER,
  deleteServer: { needs: ['service-address', 'real-server'] },
  editServer: SERVER,
  set: {},
  startDaemon: {
    takes: ['mcast-interface', 'syncid', 'mcast-group', 'mcast-port', 'mcast-ttl', 'sync-maxlen'],
  },
  stopDaemon: { takes: ['syncid'] },
  restore: { takes: ['replace'] },
  save: { takes: ['numeric', 'replace'] },
  zero: { takes: ['service-address'] },
};

/** Why these options don't go with the command; undefined when they do. */
export function illegal(command: CommandName, given: ReadonlySet<OptionName>): string | undefined {
  const title = COMMANDS[command];
  return fault(LEGAL[command], NAMES, ALWAYS, given, `'${title}' command`);
}

const TUNNELS: Readonly<Record<'ipip' | 'gue' | 'gre', Legal>> = {
  ipip: {},
  gue: { needs: ['tun-port'], oneOf: ['tun-nocsum', 'tun-csum', 'tun-remcsum'] },
  gre: { oneOf: ['tun-nocsum', 'tun-csum'] },
};

/** The same for the kind of tunnel; it is asked for destinations of every kind. */
export function illegalTunnel(
  type: 'ipip' | 'gue' | 'gre',
  given: ReadonlySet<OptionName>,
): string | undefined {
  const names = TUNNEL.filter((name) => name !== 'tun-type');
  return fault(TUNNELS[type], names, [], given, `'${type}' tunnel type`);
}

function fault(
  { needs = [], takes = [], oneOf = [] }: Legal,
  names: readonly OptionName[],
  always: readonly OptionName[],
  given: ReadonlySet<OptionName>,
  where: string,
): string | undefined {
  let exclusive: OptionName | undefined;
  for (const name of names) {
    if (!given.has(name)) {
      if (needs.includes(name)) return `You need to supply the '${name}' option for the ${where}`;
    } else if (oneOf.includes(name)) {
      if (exclusive !== undefined) {
        return `The option '${name}' conflicts with the '${exclusive}' option in the ${where}`;
      }
      exclusive = name;
    } else if (![...needs, ...takes, ...always].includes(name))
      return `Illegal '${name}' option with the ${where}`;
  }
  return undefined;
}
