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
    .filter((line) => /^viaduct_(service_(quorum|sorry)|destination_up)/.test(line));
  const of = '{network="",service="tcp://203.0.113.80:80"';
  t.deepEqual(about, [
    `viaduct_service_quorum${of}} 1`,
    `viaduct_service_sorry${of}} 0`,
    `viaduct_destination_up${of},destination="10.0.0.1:80"} 0`,
    `viaduct_destination_up${of},destination="10.0.0.2:80"} 1`,
  ]);
});

test('services and destinations have counts and gauges, the table its size and its states', (t) => {
  const dataplane = new FakeDataplane();
  const destinations = [{ address: '10.0.0.1:80', weight: 3 }];
  const written = { networks: [], services: [{ listen: 'tcp://203.0.113.80:80', destinations }] };
  dataplane.applied.push(parseConfig(written, 'the test'));
  const stats = { conns: 2, inPackets: 30, outPackets: 40, inBytes: 5000, outBytes: 6000 };
  dataplane.rowsOf = (services) =>
    virtualServerRows(services).map((row) => ({
      ...row,
      stats,
      destinations: row.destinations.map((each) => ({ ...each, active: 7, inactive: 8, stats })),
    }));
  const all = metrics(dataplane).split('\n');
  const service = 'network="",service="tcp://203.0.113.80:80"';
  for (const line of [
    `viaduct_service_connections_total{${service}} 2`,
    `viaduct_service_incoming_packets_total{${service}} 30`,
    `viaduct_service_outgoing_bytes_total{${service}} 6000`,
    `viaduct_destination_outgoing_packets_total{${service},destination="10.0.0.1:80"} 40`,
    `viaduct_destination_active_connections{${service},destination="10.0.0.1:80"} 7`,
    `viaduct_destination_weight{${service},destination="10.0.0.1:80"} 3`,
    'viaduct_virtual_server_incoming_bytes_total 0',
    'viaduct_connection_table_entries 4',
    'viaduct_connection_table_capacity 4096',
    'viaduct_connection_entries{protocol="tcp",state="ESTABLISHED",kind="connection"} 3',
  ]) {
    t.true(all.includes(line), line);
  }
});
