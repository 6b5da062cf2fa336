/**
 * SIP's ends, as far as directors see them: messages over UDP with a Call-ID.
 *   serve NAME PORT            prints "ready"; answers each message with its NAME; to whom registers it sends an INVITE itself
 *   ask ADDRESS PORT CALL-ID…  a message of each call, each from a port of its own; prints who answered
 *   register ADDRESS PORT      prints where the INVITE came from and by whom it is, then who answers in that call
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { AddressInfo } from 'node:net';

const [verb, first = '', second = '', ...calls] = process.argv.slice(2);

const message = (start: string, callId: string, more = ''): string =>
  `${start}\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK1\r\n${more}Call-ID: ${callId}\r\nContent-Length: 0\r\n\r\n`;
const header = (text: string, name: string): string =>
  new RegExp(`^${name}: (.*)\r$`, 'm').exec(text)?.[1] ?? '';
const socketFor = (address: string): Socket => createSocket(address.includes(':') ? 'udp6' : 'udp4');

function once(socket: Socket): Promise<{ text: string; from: RemoteInfo }> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('no answer in 3 s')), 3000);
    socket.once('message', (data, from) => {
      clearTimeout(late);
      resolve({ text: String(data), from });
    });
    socket.once('error', reject);
  });
}

async function ask(callId: string, start = 'OPTIONS sip:x SIP/2.0', more = ''): Promise<string> {
  const socket = socketFor(first);
  const answer = once(socket);
  socket.send(message(start, callId, more), Number(second), first);
  const { text } = await answer;
  socket.close();
  return header(text, 'Server');
}

if (verb === 'serve') {
  const socket = createSocket('udp6');
  socket.on('message', (data, from) => {
    const text = String(data);
    const callId = header(text, 'Call-ID');
    socket.send(message('SIP/2.0 200 OK', callId, `Server: ${first}\r\n`), from.port, from.address);
    if (!text.startsWith('REGISTER')) return;
    const contact = Number(header(text, 'Contact'));
    socket.send(
      message('INVITE sip:x SIP/2.0', `back-${callId}`, `Server: ${first}\r\n`),
      contact,
      from.address,
    );
  });
  socket.bind(Number(second), '::', () => console.log('ready'));
} else if (verb === 'ask') {
  for (const call of calls) console.log(await ask(call));
} else {
  const contact = socketFor(first);
  await new Promise<void>((resolve) => contact.bind(0, resolve));
  const invite = once(contact);
  const { port } = contact.address() as AddressInfo;
  await ask(`${process.pid}@client`, 'REGISTER sip:x SIP/2.0', `Contact: ${port}\r\n`);
  const { text, from } = await invite;
  contact.close();
  console.log(`${from.address} ${from.port} ${header(text, 'Server')}`);
  console.log(await ask(header(text, 'Call-ID')));
}
