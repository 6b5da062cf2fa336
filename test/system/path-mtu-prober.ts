/** A prober in the namespace that it is started in: watches the addresses of its arguments, and tells each change as a line of JSON. */
import { PathMtuProber } from '../../src/dataplane/io/path-mtu/prober.js';
import { routeTo } from '../../src/dataplane/io/rtnetlink/route.js';

const tell = (line: object) => console.log(JSON.stringify(line));
const prober = new PathMtuProber({
  logger: { debug() {}, info() {}, warn: (fields) => tell({ warning: fields }) },
  now: () => performance.now(),
  routeMtu: (address) => routeTo('', address),
  onChange: (address, mtu) => tell({ address, mtu, learned: routeTo('', address)?.mtuLearned }),
  intervalMs: 1000,
  timeoutMs: 250,
  raiseMs: 2000,
});
for (const address of process.argv.slice(2)) prober.watch(address, 1500);
tell({ watching: true });
