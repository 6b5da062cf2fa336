import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { settle } from '../../../src/dataplane/config/settled.js';
import { parseConfig } from '../../../src/dataplane/config.js';
import { ApplyError } from '../../../src/dataplane/face.js';
import { SyncKeeper } from '../../../src/dataplane/host/sync/sync-keeper.js';
import { Connections } from '../../../src/dataplane/ipvs/connections.js';
import { DestinationCounts } from '../../../src/dataplane/ipvs/destination.js';
import { Extras } from '../../../src/dataplane/ipvs/extras.js';

function keeper(): SyncKeeper {
  const silent = () => {};
  return new SyncKeeper({
    connections: new Connections(Connections.allocate(16)),
    extras: new Extras(Extras.allocate(1)),
    counts: new DestinationCounts(DestinationCounts.allocate(65_536)),
    logger: { debug: silent, info: silent, warn: silent, error: silent },
    services: () => [],
  });
}

const wanted = (daemon: object) =>
  settle(parseConfig({ networks: [], virtualServer: { sync: { backup: daemon } } }, 'the test'), null)
    .virtualServer.sync;

test('a daemon that can’t be had on this host is refused by name', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'viaduct-sync-'));
  try {
    const keyFile = join(folder, 'key');
    writeFileSync(keyFile, 'ab'.repeat(31));
    const refused = (daemon: object, message: RegExp) =>
      t.throws(() => keeper().refuse(wanted({ interface: 'lo', ...daemon })), {
        instanceOf: ApplyError,
        message,
      });
    refused({ interface: 'no0' }, /sync\.backup\.interface: no0 isn't there/);
    refused({ peers: ['10.0.0.1', 'fd00::1'] }, /two families/);
    refused({ keyFile }, /has no 64 hexadecimal digits; make it with: openssl/);
    refused({ keyFile: join(folder, 'none') }, /keyFile: ENOENT/);
    refused({ maxLength: 79 }, /80 bytes, got 79/);
    writeFileSync(keyFile, `${'ab'.repeat(32)}\n`);
    refused({ keyFile, maxLength: 124 }, /125 bytes, got 124/);
    t.notThrows(() => keeper().refuse(wanted({ interface: 'lo', keyFile, maxLength: 125 })));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('daemons start, change and stop as they are wanted, both roles at once', async (t) => {
  const sync = keeper();
  const peers = ['127.0.0.1'];
  const backup = wanted({ interface: 'lo', peers, port: 18_848 });
  t.true(await sync.want(backup));
  t.false(await sync.want(backup));
  t.deepEqual(sync.counts(), [{ role: 'backup', messages: 0, connections: 0, refused: {} }]);
  t.true(await sync.want({ master: backup.backup, backup: backup.backup }));
  t.deepEqual(
    sync.counts().map(({ role }) => role),
    ['master', 'backup'],
  );
  t.true(await sync.want({ master: null, backup: null }));
  t.deepEqual(sync.counts(), []);
});
