/** The shape of a service's `health:`, one form for each kind of check. */
import { z } from 'zod';
import { flag, text, whole } from './schema-parts.js';

const MS_MAX = 86_400_000;

const common = {
  intervalMs: whole(10, MS_MAX).default(1000),
  timeoutMs: whole(1, MS_MAX).default(1000),
  fall: whole(1, 1000).default(3),
  rise: whole(1, 1000).default(2),
  inhibitOnFailure: flag(false),
  port: whole(1, 65535).nullable().default(null),
  passiveFailures: whole(0, 1_000_000).default(0),
};

const line = (most: number) =>
  text(
    (value) =>
      value.length >= 1 && value.length <= most && !/\p{Cc}/u.test(value)
        ? undefined
        : `must be 1..${most} printable characters`,
    { minLength: 1, maxLength: most },
  );

const path = text(
  (value) => (/^\/[!-~]*$/.test(value) ? undefined : 'must be a path such as /healthz, per cent encoded'),
  { pattern: '^/[!-~]*$' },
);

const status = text(
  (value) => {
    const ranges = value.split(',').map((range) => /^([1-5]\d\d)(?:-([1-5]\d\d))?$/.exec(range.trim()));
    const good = ranges.every((range) => range !== null && Number(range[1]) <= Number(range[2] ?? range[1]));
    return good ? undefined : 'must be status codes such as 200, or 200-299,401';
  },
  { examples: ['200', '200-399'] },
);

const digest = text((value) => (/^[0-9a-f]{32}$/i.test(value) ? undefined : 'must be an MD5 of 32 digits'), {
  pattern: '^[0-9a-fA-F]{32}$',
});

const regex = text(
  (value) => {
    try {
      new RegExp(value);
      return undefined;
    } catch {
      return 'must be a regular expression';
    }
  },
  { format: 'regex' },
);

const http = {
  path: path.default('/'),
  host: line(255).nullable().default(null),
  status: status.default('200-299'),
  digest: digest.nullable().default(null),
  regex: regex.nullable().default(null),
};

const hex = text(
  (value) =>
    /^([0-9a-f]{2}){0,1472}$/i.test(value) ? undefined : 'must be bytes in hexadecimal, 1472 at most',
  { pattern: '^([0-9a-fA-F]{2})*$' },
);

const domain = text(
  (value) =>
    value === '.' || (/^([^.\s]{1,63}\.)*[^.\s]{1,63}\.?$/.test(value) && value.length <= 254)
      ? undefined
      : 'must be a domain name',
  { maxLength: 254 },
);

const KINDS = {
  tcp: {},
  icmp: {},
  http,
  https: http,
  smtp: { helo: line(255).default('localhost') },
  dns: {
    name: domain.default('.'),
    type: z.enum(['A', 'AAAA', 'NS', 'CNAME', 'SOA', 'MX', 'TXT', 'SRV', 'PTR']).default('SOA'),
  },
  udp: { payload: hex.default(''), requireReply: flag(false) },
  script: {
    command: z.array(line(4096)).min(1),
    dynamicWeight: flag(false),
  },
};

const kind = <K extends keyof typeof KINDS>(name: K) =>
  z.strictObject({ kind: z.literal(name), ...common, ...KINDS[name] });

export const health = z.discriminatedUnion(
  'kind',
  [
    ...([kind('tcp'), kind('icmp'), kind('http'), kind('https')] as const),
    ...([kind('smtp'), kind('dns'), kind('udp'), kind('script')] as const),
  ],
  { error: () => `must be one of ${Object.keys(KINDS).join(', ')}` },
);
