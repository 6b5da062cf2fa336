/** The options of ipvsadm's synchronisation daemons. */
import { canonicalAddress } from '../../../dataplane/config/address.js';
import { SYNC_ROLES, type SyncDaemon, type SyncRole } from '../../../dataplane/config/service-types.js';
import type { OptionName } from './options.js';
import { UsageFault } from './usage-fault.js';
import { numberOf } from './values.js';

const NAMES: Readonly<Record<string, OptionName>> = {
  interface: 'mcast-interface',
  syncId: 'syncid',
  group: 'mcast-group',
  mcastPort: 'mcast-port',
  ttl: 'mcast-ttl',
  maxLength: 'sync-maxlen',
};

/** As an option's sentence calls it, and its range. IPv4's and UDP's headers are 28 bytes. */
const NUMBERS = {
  syncId: ['syncid', 0, 255, 'syncId'],
  mcastPort: ['mcast-port', 1, 65535, 'port'],
  ttl: ['mcast-ttl', 1, 255, 'ttl'],
  maxLength: ['sync-maxlen', 1, 65535 - 28, 'maxLength'],
} as const;

const INTERFACE_MAX = 15;

export class DaemonOptions {
  role: SyncRole = 'master';
  /** What the kernel takes where nothing is said. */
  #daemon: SyncDaemon = {
    ...{ interface: 'eth0', syncId: 0, group: '224.0.0.81' },
    ...{ port: 8848, ttl: 1, maxLength: 1472 },
  };

  nameOf(tag: string): OptionName | undefined {
    return NAMES[tag];
  }

  setRole(text: string, sentence: string): void {
    const role = SYNC_ROLES.find((known) => known === text);
    if (role === undefined) throw new UsageFault(sentence);
    this.role = role;
  }

  take(tag: string, value: string): void {
    if (tag === 'interface') this.#daemon = { ...this.#daemon, interface: value.slice(0, INTERFACE_MAX) };
    else if (tag === 'group') this.#daemon = { ...this.#daemon, group: groupOf(value) };
    else {
      const [name, from, to, field] = NUMBERS[tag as keyof typeof NUMBERS];
      const number = numberOf(value, from, to);
      if (number === undefined) throw new UsageFault(`illegal ${name} specified`);
      this.#daemon = { ...this.#daemon, [field]: number };
    }
  }

  daemon(): SyncDaemon {
    return this.#daemon;
  }
}

function groupOf(text: string): string {
  const group = canonicalAddress(text);
  const six = text.includes(':');
  const multicast = six ? /^ff..:/.test(group ?? '') : /^(22[4-9]|23\d)\./.test(group ?? '');
  if (group === undefined || !multicast)
    throw new UsageFault(`invalid IPv${six ? 6 : 4} mcast-group \`${text}'`);
  return group;
}
