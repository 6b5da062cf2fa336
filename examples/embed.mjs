// A data plane inside a program, without root: its one workload is in memory, and asks who has 10.10.0.3.
import { createDataplane, MemoryWorkload, parseConfig } from 'viaduct';

const underlay = { address: '127.0.0.1', port: 34_801, device: 'dgram' };
const endpoint = { netns: 'none', interface: 'a', mac: '02:42:0a:0a:00:02', addresses: ['10.10.0.2/24'] };
const remote = { mac: '02:42:0a:0a:00:03', addresses: ['10.10.0.3'], vtep: '127.0.0.2' };
const networks = [{ name: 'blue', vni: 4097, endpoints: [endpoint], remotes: [remote] }];
const workload = new MemoryWorkload();
const plane = createDataplane({ logger: console, deviceFor: (_endpoint, path) => workload.connect(path) });
await plane.start();
await plane.apply(parseConfig({ underlay, networks }, 'embed.mjs'));

const arp = 'ffffffffffff02420a0a00020806 0001080006040001 02420a0a00020a0a0002 0000000000000a0a0003';
workload.send(Buffer.from(arp.replaceAll(' ', ''), 'hex'));
let reply;
while ((reply = workload.receive()) === undefined) await new Promise((soon) => setTimeout(soon, 1));
console.log('10.10.0.3 is at', Buffer.from(reply).toString('hex', 22, 28));
await plane.stop();
