/** The Prometheus text: format, names, labels. */
import test from 'ava';
import { metrics } from '../../src/cli/socket/metrics.js';
import { parseConfig } from '../../src/dataplane/config.js';
import { virtualServerRows } from '../../src/dataplane/host/virtual-server.js';
import { FakeDataplane } from './fake-dataplane.js';

const text = metrics(new FakeDataplane());
const lines = text.trimEnd().split('\n');

test('every line is a comment or a sample in the text format', (t) => {
  const sample = /^viaduct_[a-z0-9_]+(\{[a-z]+="([^"\\]|\\.)*"(,[a-z]+="([^"\\]|\\.)*")*\})? -?[0-9.e+-]+$/;
  for (const line of lines) {
    if (line.startsWith('#')) t.regex(line, /^# (HELP|TYPE) viaduct_[a-z0-9_]+ .+$/);
    else t.regex(line, sample);
  }
});

test('counters end in _total, and only they do', (t) => {
  for (const line of lines.filter((each) => each.startsWith('# TYPE'))) {
    const [, , name, type] = line.split(' ');
    t.is(name!.endsWith('_total'), type === 'counter', line);
  }
});

test('every sample stands under its own family, and no series comes twice', (t) => {
  let family = '';
  const seen = new Set<string>();
  for (const line of lines) {
    if (line.startsWith('# TYPE')) family = line.split(' ')[2]!;
    if (line.startsWith('#')) continue;
    const series = line.slice(0, line.lastIndexOf(' '));
    t.is(series.replace(/\{.*/, ''), family);
    t.false(seen.has(series), series);
    seen.add(series);
  }
});

test('drops have a reason, endpoints a network, a namespace and an interface', (t) => {
  t.true(lines.includes('viaduct_dropped_packets_total{reason="too-big"} 7'));
  t.true(
    lines.includes(
      'viaduct_endpoint_receive_bytes_total{network="blue",netns="ctr-a",interface="eth0"} 2048',
    ),
  );
  t.true(lines.includes('viaduct_vtep_transmit_packets_total{vtep="10.0.0.2"} 5'));
  t.true(lines.includes('viaduct_engine_rx_packets_total 8'));
  t.true(lines.includes('viaduct_offload_enabled{offload="uso"} 0'));
  t.true(lines.includes('viaduct_offload_wanted{offload="uso"} 1'));
  t.true(lines.includes('viaduct_start_time_seconds 1767323045'));
});

test('quotes in a label are escaped', (t) => {
  t.true(lines.includes('viaduct_network_mtu_bytes{network="blue \\"sky\\""} 1450'));
});

test('services that are checked say whether they have their quorum, and destinations whether they are up', (t) => {
  const dataplane = new FakeDataplane();
  const config = parseConfig(
    {
      networks: [],
      services: [
        {
          listen: 'tcp://203.0.113.80:80',
          destinations: [{ address: '10.0.0.1:80' }, { address: '10.0.0.2:80' }],
        },
        { listen: 'tcp://203.0.113.81:80', destinations: [{ address: '10.0.0.1:80' }] },
      ],
    },
    'the test',
  );
  dataplane.applied.push(config);
  dataplane.rowsOf = (services) => {
    const [checked, other] = virtualServerRows(services);
    const destinations = checked!.destinations.map((each, i) => {
      return { ...each, health: { up: i === 1, since: '2026-01-02T03:04:05.000Z', error: null } };
    });
    return [{ ...checked!, destinations, health: { quorum: true, weight: 1, sorry: false } }, other!];
  };
  const about = metrics(dataplane)
    .split('\n')
    .filter((line) => /^viaduct_(service_|destination_)/.test(line));
  const of = '{network="",service="tcp://203.0.113.80:80"';
  t.deepEqual(about, [
    `viaduct_service_quorum${of}} 1`,
    `viaduct_service_sorry${of}} 0`,
    `viaduct_destination_up${of},destination="10.0.0.1:80"} 0`,
    `viaduct_destination_up${of},destination="10.0.0.2:80"} 1`,
  ]);
});
