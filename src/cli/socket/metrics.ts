/** GET /metrics: the Prometheus text format. Labels name what is configured, so their number is bounded. */
import type { Dataplane } from '../../dataplane/face.js';
import type { Traffic } from '../../dataplane/report.js';
import { family } from './prometheus.js';
import { virtualServerMetrics } from './virtual-server-metrics.js';

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
    ...virtualServerMetrics(dataplane),
    family('resident_memory_bytes', 'gauge', 'Resident memory of the process.', [
      [{}, process.memoryUsage.rss()],
    ]),
    family('cpu_seconds_total', 'counter', 'Processor time of the process.', [[{}, cpuSeconds()]]),
  ].join('');
}

/** txPackets → tx_packets */
function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
