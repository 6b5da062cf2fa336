import test from 'ava';
import { Networks } from '../../src/dataplane/overlay/network.js';
import { nets } from './overlay.js';

test('a network is found by index, VNI and port until it is removed', (t) => {
  const networks = new Networks();
  const blue = nets({ index: 1, ports: [0, 5] });
  networks.set(blue);
  t.is(networks.at(1), blue);
  t.is(networks.ofVni(101), blue);
  t.is(networks.ofPort(5), blue);
  t.is(networks.ofPort(1), undefined);
  networks.remove(1);
  networks.remove(1);
  for (const found of [networks.at(1), networks.ofVni(101), networks.ofPort(5)]) t.is(found, undefined);
});

test('two networks may change VNIs and ports with one another, in any order', (t) => {
  for (const order of [
    [1, 2],
    [2, 1],
  ]) {
    const networks = new Networks();
    networks.set(nets({ index: 1, vni: 10, ports: [0] }));
    networks.set(nets({ index: 2, vni: 20, ports: [1] }));
    const changed = new Map([
      [1, nets({ index: 1, vni: 20, ports: [1] })],
      [2, nets({ index: 2, vni: 10, ports: [0] })],
    ]);
    for (const index of order) networks.set(changed.get(index)!);
    t.is(networks.ofVni(20), changed.get(1));
    t.is(networks.ofVni(10), changed.get(2));
    t.is(networks.ofPort(1), changed.get(1));
    t.is(networks.ofPort(0), changed.get(2));
  }
});

test('a port that left a network is attached no more', (t) => {
  const networks = new Networks();
  networks.set(nets({ index: 1, ports: [0, 1] }));
  networks.set(nets({ index: 1, ports: [1] }));
  t.is(networks.ofPort(0), undefined);
  t.is(networks.ofPort(1)?.index, 1);
});
