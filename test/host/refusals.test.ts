/** What can't be had says which value, why, and what to do. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import test from 'ava';
import { type Config, type Endpoint, parseConfig } from '../../src/dataplane/config.js';
import { ApplyError, createDataplane } from '../../src/dataplane/dataplane.js';
import { openTap } from '../../src/dataplane/host/endpoints.js';
import { interfaceRefusal, portRefusal, tapRefusal, vtepRefusal } from '../../src/dataplane/host/refusals.js';
import { openUnderlay } from '../../src/dataplane/host/underlay.js';
import { need } from '../../src/dataplane/io/native.js';
import { asRoot, namespace, run } from '../native/machine.js';
import { QUIET } from './fake-carrier.js';

const IN_USE = (port: number) =>
  new RegExp(
    `^underlay: UDP port ${port} of 127\\.0\\.0\\.1 is in use; see by whom with: ss -lunp 'sport = :${port}'.*choose another underlay\\.port`,
  );

function configOf(port: number, device: string, count = 1): Config {
  const underlay = { address: '127.0.0.1', port, device };
  return parseConfig({ underlay, engine: { count: device === 'dgram' ? 1 : count } }, 'the test');
}

test('a port that is in use is named, with the way to find who has it and what to change', async (t) => {
  const other = createSocket('udp4').bind(0, '127.0.0.1');
  await once(other, 'listening');
  t.teardown(() => other.close());
  const { port } = other.address();
  const plane = createDataplane({ logger: QUIET });
  t.teardown(() => plane.stop());
  const options = { instanceOf: ApplyError, message: IN_USE(port) };
  await t.throwsAsync(plane.apply(configOf(port, 'dgram')), options);
  t.throws(() => openUnderlay(configOf(port, 'udp'), 1, QUIET), options);
});

test('a data plane with several engines does not share the port of another that has several', (t) => {
  const first = openUnderlay(configOf(34_789, 'udp'), 2, QUIET);
  t.teardown(() => first.close());
  t.throws(() => openUnderlay(configOf(34_789, 'udp'), 2, QUIET), {
    instanceOf: ApplyError,
    message: IN_USE(34_789),
  });
});

test('other refusals of the port name it too', (t) => {
  const error = (code: string) => Object.assign(new Error(`bind ${code}`), { code });
  t.regex(portRefusal(error('EACCES'), '10.0.0.1', 80), /^UDP port 80 may not .* 1024 on$/);
  t.regex(portRefusal(error('EADDRNOTAVAIL'), 'fd00::1', 4789), /^fd00::1 can't be bound; .*tentative/);
  t.is(portRefusal(error('ENOBUFS'), '10.0.0.1', 4789), 'bind ENOBUFS');
});

const OFFLOADS = { checksum: true, tso: true, uso: true, coalesce: true };

function endpointIn(netns: string): Endpoint {
  const networks = [{ name: 'blue', vni: 1, endpoints: [{ netns, interface: 'eth0' }] }];
  return parseConfig({ underlay: { address: '10.0.0.1' }, networks }, 'the test').networks[0]!.endpoints[0]!;
}

for (const [what, make, kind, engines] of [
  ['a veth', ['link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'other'], 'a veth device', 1],
  ['a persistent TAP', ['tuntap', 'add', 'dev', 'eth0', 'mode', 'tap'], 'a TUN/TAP device', 1],
  [
    'a persistent TAP of several queues',
    ['tuntap', 'add', 'dev', 'eth0', 'mode', 'tap', 'multi_queue'],
    'a TUN/TAP device',
    2,
  ],
] as const) {
  asRoot(`${what} that has an endpoint's name is refused, left as it was, and the way out is named`, (t) => {
    const netns = namespace(t);
    run('ip', '-n', netns.name, ...make);
    const seen = () => run('ip', '-n', netns.name, '-d', 'link', 'show', 'dev', 'eth0');
    const before = seen();
    const error = t.throws(() => openTap(endpointIn(netns.path), 'blue', 0, 1400, engines, OFFLOADS, QUIET), {
      instanceOf: ApplyError,
    });
    t.true(error.message.includes(`the interface is there already: ${kind} that isn't`), error.message);
    t.true(error.message.includes(`'ip -n ${netns.name} link delete eth0'`), error.message);
    t.is(seen(), before);
  });
}

asRoot('the interface of another data plane is not joined, also where both have several queues', (t) => {
  const netns = namespace(t);
  for (const engines of [1, 2]) {
    const open = () => openTap(endpointIn(netns.path), 'blue', 0, 1400, engines, OFFLOADS, QUIET);
    const first = open();
    t.throws(open, { message: /stop the program that it belongs to/ });
    for (const fd of first.fds) need().close(fd);
    for (const fd of open().fds) need().close(fd);
  }
});

asRoot('a namespace outside of /run/netns is entered by its path in the way out', (t) => {
  const { name } = namespace(t);
  run('ip', '-n', name, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'other');
  t.throws(
    () => openTap(endpointIn(`/proc/self/root/run/netns/${name}`), 'blue', 0, 1400, 1, OFFLOADS, QUIET),
    {
      message: /'nsenter --net=\/proc\/self\/root\/run\/netns\/\S+ ip link delete eth0'/,
    },
  );
});

test('an interface that may not be made, or for lack of the driver, says how it may', (t) => {
  const error = (code: string, of: string) => Object.assign(new Error(`${code}: ${of}`), { code });
  t.regex(interfaceRefusal(error('EPERM', 'setns')), /setns; this needs CAP_NET_ADMIN .*: run as root$/);
  t.regex(interfaceRefusal(error('ENOENT', "open '/dev/net/tun'")), /modprobe tun/);
  t.is(interfaceRefusal(error('ENOENT', "open '/run/netns/a'")), "ENOENT: open '/run/netns/a'");
});

test('the log names the VTEP that can not be reached and the error, and what to look at', (t) => {
  t.deepEqual(vtepRefusal(101, 'underlay', '10.9.9.9'), {
    fields: { device: 'underlay', vtep: '10.9.9.9', error: 'ENETUNREACH', drop: 'vtep-unreachable' },
    message:
      'a datagram to a VTEP was refused; compare the way there with: ip route get 10.9.9.9; ' +
      'further ones are only counted: viaduct show drops',
  });
  t.like(vtepRefusal(22, 'tunnel', 'fd00::2').fields, { error: 'EINVAL', drop: 'underlay-error' });
  t.like(tapRefusal(5, endpointIn('ctr-a')).fields, {
    endpoint: 'eth0 in ctr-a',
    error: 'EIO',
    drop: 'tap-busy',
  });
});
