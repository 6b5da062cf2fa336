/** Edits as they come over the control socket: checked for their shape; what they mean is service-edit.ts's. */
import { z } from 'zod';
import { ConfigError } from './error.js';
import { schemaFaults } from './faults.js';
import { list, name, text, whole } from './schema-parts.js';
import { listenText, parseListen } from './service-address.js';
import type { Edit } from './service-edit-types.js';
import { normaliseService, normaliseVirtualServer } from './service-normalise.js';
import {
  destination,
  service,
  syncDaemon,
  TIMEOUT_MAX,
  virtualServerSettings as virtualServer,
} from './service-schema.js';
import { SYNC_ROLES } from './service-types.js';

const network = name.nullable().default(null);
const listen = text(
  (value) => (parseListen(value) === undefined ? 'must be such as tcp://10.0.0.1:80 or mark://7' : undefined),
  {},
);
const of = { network, listen };
const word = z.string().min(1).max(15);
const seconds = whole(0, TIMEOUT_MAX).default(0);
const role = z.enum(SYNC_ROLES);

const rule = z.strictObject({
  scheduler: word.default('wlc'),
  schedulerFlags: list(word),
  persistence: z
    .strictObject({
      timeoutSeconds: whole(1, TIMEOUT_MAX).default(300),
      mask: whole(1, 128).nullable().default(null),
      engine: z.string().min(1).max(16).nullable().default(null),
    })
    .nullable()
    .default(null),
  onePacket: z.boolean().default(false),
});

/** Whether it is a host's address is for the edit to say. */
const target = destination.omit({ near: true }).extend({ address: z.string().max(60) });

const edits = z.array(
  z.discriminatedUnion(
    'do',
    [
      z.strictObject({ do: z.enum(['add-service', 'edit-service']), ...of, rule: rule.prefault({}) }),
      z.strictObject({ do: z.literal('delete-service'), ...of }),
      z.strictObject({ do: z.literal('put-service'), service }),
      z.strictObject({ do: z.enum(['add-destination', 'edit-destination']), ...of, destination: target }),
      z.strictObject({ do: z.literal('delete-destination'), ...of, address: z.string().max(60) }),
      z.strictObject({ do: z.enum(['flush', 'replace']), network }),
      z.strictObject({ do: z.literal('zero'), network, listen: listen.nullable().default(null) }),
      z.strictObject({
        do: z.literal('set-timeouts'),
        ...{ tcpSeconds: seconds, tcpFinSeconds: seconds, udpSeconds: seconds },
      }),
      z.strictObject({ do: z.literal('put-virtual-server'), virtualServer }),
      z.strictObject({ do: z.literal('start-daemon'), role, daemon: syncDaemon }),
      z.strictObject({ do: z.literal('stop-daemon'), role }),
    ],
    { error: () => 'must be the name of an edit, such as add-service' },
  ),
);

/** Throws ConfigError, which names each fault and its path. */
export function parseEdits(written: unknown): Edit[] {
  const result = edits.safeParse(written, { reportInput: true });
  if (!result.success) throw new ConfigError('the edits', schemaFaults(result.error.issues, ['edits']));
  return result.data.map((step): Edit => {
    switch (step.do) {
      case 'put-service':
        return { do: step.do, service: normaliseService(step.service) };
      case 'put-virtual-server':
        return { do: step.do, virtualServer: normaliseVirtualServer(step.virtualServer) };
      case 'add-service':
      case 'edit-service': {
        const { schedulerFlags, ...more } = step.rule;
        return {
          ...step,
          listen: spelled(step.listen),
          rule: { ...more, schedulerFlags: schedulerFlags ?? [] },
        };
      }
      case 'zero':
        return { ...step, listen: step.listen === null ? null : spelled(step.listen) };
      case 'delete-service':
      case 'add-destination':
      case 'edit-destination':
      case 'delete-destination':
        return { ...step, listen: spelled(step.listen) };
      default:
        return step;
    }
  });
}

function spelled(text: string): string {
  return listenText(parseListen(text)!);
}
