/** Packets without DF on a path that is too narrow for them, as super-packets: Viaduct's fragments and the kernel's. */
import { kernelPeer } from './world/kernel-peer.js';
import { labTest } from './world/needs.js';
import { Plane } from './world/plane.js';
import { awaitWord, stopProgram } from './world/programs.js';
import { blue, CABLE, type Site, sites, vtep, type Workload, workload } from './world/sites.js';
import { reaches } from './world/traffic.js';
import { Capture, inspect, segmentWire, tshark } from './world/wire.js';

/** 10 is IP_MTU_DISCOVER, 0 IP_PMTUDISC_DONT, 103 UDP_SEGMENT. */
const SEND = `
import socket, sys
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.setsockopt(socket.IPPROTO_IP, 10, 0)
out.setsockopt(17, 103, 1400)
for i in range(20):
    out.sendto(bytes([i]) * (1400 * 20 + 17), (sys.argv[1], 7000))
`;
/** Prints how many datagrams of each size came, once none has for two seconds. */
const RECEIVE = `
import socket, sys
into = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
into.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
into.bind((sys.argv[1], 7000))
into.settimeout(2)
sizes = {}
print('ready', flush=True)
try:
    into.settimeout(20)
    while True:
        data = into.recv(65535)
        into.settimeout(2)
        if len(set(data)) == 1: sizes[len(data)] = sizes.get(len(data), 0) + 1
except TimeoutError: pass
print(sizes.get(1400, 0), sizes.get(17, 0), sum(sizes.values()), flush=True)
`;

async function through(from: Workload, to: Workload): Promise<string> {
  const receiver = to.host.spawn('python3', ['-c', RECEIVE, to.ipv4]);
  let text = '';
  receiver.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  await awaitWord(receiver, 'ready');
  const ended = new Promise((resolve) => receiver.once('close', resolve));
  await from.host.run('python3', ['-c', SEND, to.ipv4]);
  await ended;
  await stopProgram(receiver);
  return text.replace('ready', '').trim();
}

for (const device of ['udp', 'tunnel'] as const) {
  labTest(
    `UDP super-packets without DF cross a path that is too narrow for their datagrams, to the kernel and from it (${device} device)`,
    ['bridge', 'ping', 'python3', 'tcpdump', 'tshark', 'ethtool'],
    async (t, lab) => {
      const [a, b] = (await sites(lab, 2, 1300)) as [Site, Site];
      const [ours, theirs] = [await workload(lab, 2), await workload(lab, 3)];
      // The overlay is wider than what carries it: the kernel's device fragments the outer packet.
      await kernelPeer(lab, {
        site: b,
        workload: theirs,
        peer: a,
        remotes: [ours.mac],
        family: 4,
        mtu: 1500,
      });
      const plane = new Plane(a.host);
      await plane.start({
        underlay: { address: vtep(a, 4), device },
        networks: [blue([ours], [{ workload: theirs, vtep: vtep(b, 4) }], { mtu: 1450 })],
      });
      t.is((await plane.stats()).underlay.kind, device);
      t.true(await reaches(ours, theirs));
      await segmentWire([a.host, b.host]);
      const capture = await Capture.start(a.host, `src host ${vtep(a, 4)}`, CABLE);
      t.is(await through(ours, theirs), '400 20 420');
      await capture.stop();
      const { faults } = await inspect(capture.file);
      t.deepEqual(faults, []);
      const more = await tshark(capture.file, 'vxlan && ip.flags.mf == 1', ['frame.len']);
      t.true(more.length >= 400 && more.every((bytes) => Number(bytes) <= 1314), `${more.length} fragments`);
      t.is(await through(theirs, ours), '400 20 420', 'the kernel’s way back');
      const { drops, counters } = await plane.stats();
      t.is(drops['too-big'], 0);
      t.is(drops['no-packet'], 0);
      t.true(counters.segmented >= 1);
      t.false(plane.log.includes('"level":"error"'), plane.log);
    },
  );
}
