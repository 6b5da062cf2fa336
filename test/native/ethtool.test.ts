import test from 'ava';
import { asRoot, namespace, native, run } from './machine.js';

const ETHTOOL_GDRVINFO = 3;
const ETHTOOL_GLINK = 0x0a;
const ETHTOOL_GGRO = 0x2b;
const ETHTOOL_SGRO = 0x2c;

asRoot('an offload of an interface in another namespace is read, switched and read again', (t) => {
  const { name, path } = namespace(t);
  run('ip', '-n', name, 'link', 'add', 'v0', 'type', 'veth', 'peer', 'v1');
  const before = native.ethtool(path, 'v0', ETHTOOL_GGRO, 0);
  t.is(native.ethtool(path, 'v0', ETHTOOL_SGRO, 1 - before), 1 - before);
  t.is(native.ethtool(path, 'v0', ETHTOOL_GGRO, 0), 1 - before);
});

test('the link of loopback is up', (t) => {
  t.is(native.ethtool('', 'lo', ETHTOOL_GLINK, 0), 1);
});

test('an interface that is not there is named', (t) => {
  const error = t.throws(() => native.ethtool('', 'viaduct-none', ETHTOOL_GGRO, 0));
  t.like(error, { code: 'ENODEV', errno: -19, syscall: 'SIOCETHTOOL' });
  t.true(error!.message.includes("'viaduct-none'"));
});

test('a command whose answer is longer than one value is refused', (t) => {
  t.throws(() => native.ethtool('', 'lo', ETHTOOL_GDRVINFO, 0), { instanceOf: RangeError });
  t.throws(() => native.ethtool('', 'lo', -1, 0), { instanceOf: RangeError });
  t.throws(() => native.ethtool('', 'lo', 0x12b, 0), { instanceOf: RangeError });
});
