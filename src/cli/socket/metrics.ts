/** GET /metrics: the Prometheus text format. Labels name what is configured, so their number is bounded. */
import type { Dataplane } from '../../dataplane/face.js';
import type { Traffic } from '../../dataplane/report.js';

type Labels = Readonly<Record<string, string | number>>;
type Samples = readonly (readonly [Labels, number])[];

const TRAFFIC: readonly (readonly [field: keyof Traffic, name: string, help: string])[] = [
  ['rxPackets', 'receive_packets_total', 'Packets received from'],
  ['rxBytes', 'receive_bytes_total', 'Bytes received from'],
  ['txPackets', 'transmit_packets_total', 'Packets sent to'],
  ['txBytes', 'transmit_bytes_total', 'Bytes sent to'],
];

export function metrics(dataplane: Dataplane): string {
  const stats = dataplane.stats();
  const networks = dataplane.networks();
  const { underlay } = stats;
  const endpoints = stats.endpoints.map(
    (row) => [{ network: row.network, netns: row.netns, interface: row.interface }, row] as const,
  );
  const vteps = stats.vteps.map((row) => [{ vtep: row.address }, row] as const);
  return [
    family('start_time_seconds', 'gauge', 'When the data plane started, seconds since the epoch.', [
      [{}, Date.parse(stats.startedAt) / 1000],
    ]),
    family('config_generation', 'gauge', 'How many configurations were applied.', [[{}, stats.generation]]),
    family('engines', 'gauge', 'Engines that carry packets.', [[{}, stats.engines]]),
    family('underlay_info', 'gauge', 'Which underlay is in use.', [
      [{ kind: underlay.kind, port: underlay.port }, 1],
    ]),
    family('underlay_mtu_bytes', 'gauge', 'Largest IP packet of the underlay.', [[{}, underlay.mtu]]),
    family(
      'offload_enabled',
      'gauge',
      'Whether an offload is in use.',
      Object.entries(underlay.offloads).map(([offload, on]) => [{ offload }, on ? 1 : 0]),
    ),
    family(
      'offload_wanted',
      'gauge',
      'Whether the configuration wants an offload.',
      Object.entries(underlay.offloadsWanted).map(([offload, on]) => [{ offload }, on ? 1 : 0]),
    ),
    family(
      'network_endpoints',
      'gauge',
      'Workloads on this host.',
      networks.map(({ name, endpoints }) => [{ network: name }, endpoints]),
    ),
    family(
      'network_remotes',
      'gauge',
      'Workloads known elsewhere.',
      networks.map(({ name, remotes }) => [{ network: name }, remotes]),
    ),
    family(
      'network_mtu_bytes',
      'gauge',
      'Largest IP packet of a network.',
      networks.map(({ name, mtu }) => [{ network: name }, mtu]),
    ),
    family(
      'dropped_packets_total',
      'counter',
      'Packets dropped, by reason.',
      Object.entries(stats.drops).map(([reason, count]) => [{ reason }, count]),
    ),
    ...Object.entries(stats.counters).map(([name, count]) =>
      family(`engine_${snakeCase(name)}_total`, 'counter', `Engine counter ${name}.`, [[{}, count]]),
    ),
    ...TRAFFIC.flatMap(([field, name, help]) => [
      family(
        `endpoint_${name}`,
        'counter',
        `${help} a workload.`,
        endpoints.map(([labels, row]) => [labels, row[field]]),
      ),
      family(
        `vtep_${name}`,
        'counter',
        `${help} a VTEP.`,
        vteps.map(([labels, row]) => [labels, row[field]]),
      ),
    ]),
    family(
      'vtep_path_mtu_bytes',
      'gauge',
      'Largest IP packet that the path to a VTEP takes.',
      vteps.map(([labels, row]) => [labels, row.pathMtu]),
    ),
    ...health(dataplane),
    family('resident_memory_bytes', 'gauge', 'Resident memory of the process.', [
      [{}, process.memoryUsage.rss()],
    ]),
    family('cpu_seconds_total', 'counter', 'Processor time of the process.', [[{}, cpuSeconds()]]),
  ].join('');
}

/** Of the virtual services that are checked; `network` is empty for the host's own side. */
function health(dataplane: Dataplane): string[] {
  const services = dataplane.services().map((row) => {
    const labels = { network: row.network ?? '', service: row.listen };
    return { labels, ...row };
  });
  const destinations = services.flatMap(({ labels, destinations }) =>
    destinations.map((row) => [{ ...labels, destination: row.address }, row] as const),
  );
  const flag = (value: boolean) => (value ? 1 : 0);
  return [
    family(
      'service_quorum',
      'gauge',
      'Whether enough destinations of a virtual service are up.',
      services.flatMap(({ labels, health }) => (health ? [[labels, flag(health.quorum)] as const] : [])),
    ),
    family(
      'service_sorry',
      'gauge',
      'Whether the sorry server of a virtual service serves.',
      services.flatMap(({ labels, health }) => (health ? [[labels, flag(health.sorry)] as const] : [])),
    ),
    family(
      'destination_up',
      'gauge',
      'Whether the health checks of a destination find it well.',
      destinations.flatMap(([labels, row]) => (row.health ? [[labels, flag(row.health.up)] as const] : [])),
    ),
  ];
}

function family(name: string, type: 'counter' | 'gauge', help: string, samples: Samples): string {
  if (samples.length === 0) return '';
  const full = `viaduct_${name}`;
  const lines = samples.map(([labels, value]) => `${full}${labelText(labels)} ${value}\n`);
  return `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${lines.join('')}`;
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(String(value))}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

/** txPackets → tx_packets */
function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
