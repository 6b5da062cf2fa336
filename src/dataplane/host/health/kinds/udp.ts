/**
 * UDP_CHECK: a datagram goes out. "Port unreachable" is bad; silence is as `requireReply` says. Without it a host that
 * is gone isn't noticed, for nobody is there to answer: kind icmp sees that.
 */
import type { HealthKind } from '../../../config/service-types.js';
import { type Check, TimeOver } from '../check.js';
import { exchange } from './datagram.js';

export function udpCheck({ payload, requireReply }: Extract<HealthKind, { kind: 'udp' }>): Check {
  const bytes = Buffer.from(payload, 'hex');
  return async (target, signal) => {
    try {
      await exchange(target, bytes, signal, () => true);
    } catch (error) {
      if (requireReply || !(error instanceof TimeOver)) throw error;
    }
    return {};
  };
}
