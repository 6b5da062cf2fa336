import { spawnSync } from 'node:child_process';
import test from 'ava';
import { asRoot, closing, namespace, native, run, until } from './machine.js';

const NETLINK_ROUTE = 0;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLM_F_DUMP = 0x300;
const RTMGRP_LINK = 1;
const IFLA_IFNAME = 3;

/** A link message: header, ifinfomsg, no attributes. */
function linkRequest(type: number, flags: number, index = 0, up = false): Uint8Array {
  const view = new DataView(new ArrayBuffer(32));
  view.setUint32(0, 32, true);
  view.setUint16(4, type, true);
  view.setUint16(6, flags, true);
  view.setUint32(8, 7, true);
  view.setInt32(20, index, true);
  view.setUint32(24, up ? 1 : 0, true);
  view.setUint32(28, up ? 1 : 0, true);
  return new Uint8Array(view.buffer);
}

function messages(reply: Uint8Array) {
  const out: { type: number; sequence: number; body: DataView }[] = [];
  const view = new DataView(reply.buffer, reply.byteOffset, reply.length);
  for (let at = 0; at < reply.length; at += (view.getUint32(at, true) + 3) & ~3) {
    const length = view.getUint32(at, true);
    const body = new DataView(reply.buffer, reply.byteOffset + at + 16, length - 16);
    out.push({ type: view.getUint16(at + 4, true), sequence: view.getUint32(at + 8, true), body });
  }
  return out;
}

function linkName(body: DataView): string {
  for (let at = 16; at < body.byteLength; at += (body.getUint16(at, true) + 3) & ~3) {
    const length = body.getUint16(at, true);
    if (body.getUint16(at + 2, true) !== IFLA_IFNAME) continue;
    return new TextDecoder().decode(new Uint8Array(body.buffer, body.byteOffset + at + 4, length - 5));
  }
  return '';
}

/** Commands of ip in one process. */
function batch(netns: string, commands: string): void {
  const { LD_PRELOAD: _, ...env } = process.env;
  spawnSync('ip', ['-n', netns, '-batch', '-'], { input: commands, env });
}

const names = (netns: string) =>
  messages(native.netlink(netns, NETLINK_ROUTE, linkRequest(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP)))
    .filter(({ type }) => type === RTM_NEWLINK)
    .map(({ body }) => linkName(body));

test('a dump of the links comes whole, up to its end', (t) => {
  const reply = messages(
    native.netlink('', NETLINK_ROUTE, linkRequest(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP)),
  );
  t.is(reply.at(-1)!.type, NLMSG_DONE);
  t.true(reply.every(({ sequence }) => sequence === 7));
  t.true(names('').includes('lo'));
});

asRoot('a dump of many links in another namespace comes whole', (t) => {
  const { name, path } = namespace(t);
  for (let i = 0; i < 40; i++)
    run('ip', '-n', name, 'link', 'add', `many${i}`, 'type', 'veth', 'peer', `peer${i}`);
  t.is(names(path).filter((each) => each.startsWith('many')).length, 40);
  t.false(names('').some((each) => each.startsWith('many')));
});

asRoot('a change is acknowledged, and what is read with an ack has the answer before it', (t) => {
  const { path } = namespace(t);
  const [ack] = messages(
    native.netlink(path, NETLINK_ROUTE, linkRequest(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, 1, true)),
  );
  t.is(ack!.type, NLMSG_ERROR);
  t.is(ack!.body.getInt32(0, true), 0);
  const [link, end] = messages(
    native.netlink(path, NETLINK_ROUTE, linkRequest(RTM_GETLINK, NLM_F_REQUEST | NLM_F_ACK, 1)),
  );
  t.is(linkName(link!.body), 'lo');
  t.is(end!.type, NLMSG_ERROR);
});

test('a single answer without an ack ends the exchange too', (t) => {
  const reply = messages(native.netlink('', NETLINK_ROUTE, linkRequest(RTM_GETLINK, NLM_F_REQUEST, 1)));
  t.deepEqual(
    reply.map(({ type }) => type),
    [RTM_NEWLINK],
  );
});

test('an error of the kernel is an answer like others', (t) => {
  const request = linkRequest(RTM_GETLINK, NLM_F_REQUEST | NLM_F_ACK, 0x7ffffff0);
  const [error] = messages(native.netlink('', NETLINK_ROUTE, request));
  t.is(error!.type, NLMSG_ERROR);
  t.is(error!.body.getInt32(0, true), -19);
});

asRoot('a subscription tells changes of links, each once, and is empty in between', async (t) => {
  const { name, path } = namespace(t);
  const fd = closing(t, native.netlinkSubscribe(path, NETLINK_ROUTE, RTMGRP_LINK));
  t.is(native.netlinkRead(fd).length, 0);
  const epoll = closing(t, native.epollCreate());
  native.epollAdd(epoll, fd, 5);
  run('ip', '-n', name, 'link', 'add', 'w0', 'type', 'veth', 'peer', 'w1');
  t.is(native.wait(epoll, new Int32Array(1), 1000, 0), 1);
  const seen = new Set<string>();
  await until(() => {
    for (const { body } of messages(native.netlinkRead(fd))) seen.add(linkName(body));
    return (seen.has('w0') && seen.has('w1')) || undefined;
  });
  t.deepEqual([...seen].sort(), ['w0', 'w1']);
  t.is(native.netlinkRead(fd).length, 0);
});

asRoot('a subscriber that was overrun is told so once, and hears what comes after', (t) => {
  const { name, path } = namespace(t);
  run('ip', '-n', name, 'link', 'add', 'w0', 'type', 'veth', 'peer', 'w1');
  const fd = closing(t, native.netlinkSubscribe(path, NETLINK_ROUTE, RTMGRP_LINK));
  const changes = Array.from({ length: 8000 }, (_, i) => `link set w0 mtu ${1000 + (i % 2)}\n`).join('');
  batch(name, changes);
  t.like(
    t.throws(() => native.netlinkRead(fd)),
    { code: 'ENOBUFS', syscall: 'recvmsg' },
  );
  while (native.netlinkRead(fd).length > 0);
  batch(name, 'link set w0 mtu 1234\n');
  t.true(native.netlinkRead(fd).length > 0);
});

test('a protocol that is none, or a descriptor that is no socket, is an error with a code', (t) => {
  const request = linkRequest(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP);
  t.like(
    t.throws(() => native.netlink('', 31, request)),
    { code: 'EPROTONOSUPPORT', syscall: 'socket' },
  );
  t.like(
    t.throws(() => native.netlink('/nowhere', 0, request)),
    { code: 'ENOENT', syscall: 'open' },
  );
  t.like(
    t.throws(() => native.netlinkSubscribe('/nowhere', 0, 1)),
    { code: 'ENOENT' },
  );
  const event = closing(t, native.eventCreate());
  t.like(
    t.throws(() => native.netlinkRead(event)),
    { code: 'ENOTSOCK' },
  );
  t.throws(() => native.netlink('', 0, new Uint8Array(15)), { instanceOf: RangeError });
});
