/** TCP_CHECK: a connection opens. */
import type { Check } from '../check.js';
import { dial } from './connection.js';

export const tcp: Check = async (target, signal) => {
  const socket = await dial(target, signal);
  socket.destroy();
  return {};
};
