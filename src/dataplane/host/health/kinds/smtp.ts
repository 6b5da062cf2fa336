/** SMTP_CHECK: the server greets (220), takes HELO (250) and QUIT (221), as RFC 5321 has it. */
import type { Check } from '../check.js';
import { dial, lines } from './connection.js';

/** Lines of one reply. */
const LINES_MAX = 100;

export function smtpCheck(helo: string): Check {
  return async (target, signal) => {
    const socket = await dial(target, signal);
    try {
      const said = lines(socket);
      await expect(said, 220, 'the greeting');
      socket.write(`HELO ${helo}\r\n`);
      await expect(said, 250, 'HELO');
      socket.write('QUIT\r\n');
      await expect(said, 221, 'QUIT');
      return {};
    } finally {
      socket.destroy();
    }
  };
}

/** One reply, perhaps of several lines: each but the last has a hyphen behind the code (§4.2.1). */
async function expect(said: AsyncGenerator<string, void>, code: number, to: string): Promise<void> {
  for (let count = 0; count < LINES_MAX; count++) {
    const { value: line, done } = await said.next();
    if (done || line === undefined) throw new Error(`closed instead of a reply to ${to}`);
    const found = /^(\d{3})(?:([- ])|$)/.exec(line);
    if (found === null || Number(found[1]) !== code) throw new Error(`${to}: '${line}', not ${code}`);
    if (found[2] !== '-') return;
  }
  throw new Error(`${to}: a reply of more than ${LINES_MAX} lines`);
}
