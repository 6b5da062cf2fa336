import test, { type ExecutionContext } from 'ava';
import { arpRequest, isArpReply } from './frames.js';
import {
  asRoot,
  bytesOf,
  closing,
  emptyPackets,
  namespace,
  native,
  packetOf,
  poolFor,
  run,
  tapDefaults,
} from './machine.js';

const TCX_INGRESS = 46;
const TCX_NEXT = -1;
const TCX_DROP = 2;

/** mov r0, verdict; exit */
function verdict(value: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(16));
  view.setUint8(0, 0xb7);
  view.setInt32(4, value, true);
  view.setUint8(8, 0x95);
  return new Uint8Array(view.buffer);
}

/** A TAP, and whether the kernel behind it answers an ARP request now. */
function answering(t: ExecutionContext) {
  const netns = namespace(t);
  const tap = native.openTap({ ...tapDefaults, netns: netns.path });
  closing(t, tap.fd);
  run('ip', '-n', netns.name, 'addr', 'add', '10.9.0.1/24', 'dev', tap.name);
  run('ip', '-n', netns.name, 'link', 'set', tap.name, 'up');
  const { pool, handle } = poolFor(t, 6);
  const request = Int32Array.of(packetOf(pool, arpRequest('10.9.0.9', '10.9.0.1')));
  const list = emptyPackets(pool, 4);
  const answers = () => {
    native.tapTransmit(handle, tap.fd, 12, request, 0, 1);
    const count = native.tapReceive(handle, tap.fd, 12, list, 4);
    return list.subarray(0, count).some((packet) => isArpReply(bytesOf(pool, packet)));
  };
  return { netns, tap, answers };
}

asRoot('a program stands on the ingress of a device in another namespace until its link is closed', (t) => {
  const { netns, tap, answers } = answering(t);
  t.true(answers());
  const drop = closing(t, native.bpfLoad(verdict(TCX_DROP), 'drop_all'));
  const link = native.bpfAttach(drop, netns.path, tap.index, TCX_INGRESS);
  t.false(answers());
  native.close(link);
  t.true(answers());
});

asRoot('a program that lets pass can be attached to a veth', (t) => {
  const { name, path } = namespace(t);
  run('ip', '-n', name, 'link', 'add', 'v0', 'type', 'veth', 'peer', 'v1');
  const [{ ifindex }] = JSON.parse(run('ip', '-n', name, '-j', 'link', 'show', 'v0'));
  const program = closing(t, native.bpfLoad(verdict(TCX_NEXT), 'pass'));
  closing(t, native.bpfAttach(program, path, ifindex, TCX_INGRESS));
  t.pass();
});

asRoot('two programs on one device run one behind the other', (t) => {
  const { netns, tap, answers } = answering(t);
  const pass = closing(t, native.bpfLoad(verdict(TCX_NEXT), 'pass'));
  const drop = closing(t, native.bpfLoad(verdict(TCX_DROP), 'drop'));
  closing(t, native.bpfAttach(pass, netns.path, tap.index, TCX_INGRESS));
  const second = native.bpfAttach(drop, netns.path, tap.index, TCX_INGRESS);
  t.false(answers());
  native.close(second);
  t.true(answers());
});

asRoot('the verifier’s log is in the message of a program that it refuses', (t) => {
  const error = t.throws(() => native.bpfLoad(verdict(0).subarray(8), 'no_verdict'));
  t.like(error, { code: 'EACCES', errno: -13, syscall: 'BPF_PROG_LOAD' });
  t.regex(error!.message, /'no_verdict'.*R0 !read_ok/s);
});

asRoot('an interface or program that is not there is an error with a code', (t) => {
  const { path } = namespace(t);
  const program = closing(t, native.bpfLoad(verdict(TCX_NEXT), 'pass'));
  const missing = t.throws(() => native.bpfAttach(program, path, 9999, TCX_INGRESS));
  t.like(missing, { code: 'ENODEV', syscall: 'BPF_LINK_CREATE' });
  t.true(missing!.message.includes(path));
  t.like(
    t.throws(() => native.bpfAttach(0x7fffff, path, 1, TCX_INGRESS)),
    { code: 'EBADF' },
  );
  t.like(
    t.throws(() => native.bpfAttach(program, '/nowhere', 1, TCX_INGRESS)),
    { code: 'ENOENT' },
  );
});

test('instructions that are none are refused before the kernel sees them', (t) => {
  for (const length of [0, 7, 12, 8 * 4097]) {
    t.throws(() => native.bpfLoad(new Uint8Array(length), 'x'), { instanceOf: RangeError });
  }
  t.throws(() => native.bpfLoad(verdict(0), 'a_name_of_sixteen'), { instanceOf: RangeError });
});
