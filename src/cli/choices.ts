/** What arguments may be: apart from the commands, so that the command line is read without loading one. */
export const TABLES = [
  'networks',
  'endpoints',
  'fdb',
  'neighbours',
  'vteps',
  'drops',
  'counters',
  'stats',
  'services',
  'connections',
] as const;
export type Table = (typeof TABLES)[number];

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Names under which the command, or a link to it, is ipvsadm, and what each puts before its arguments. */
export const IPVSADM_NAMES: Readonly<Record<string, readonly string[]>> = {
  ipvsadm: [],
  'viaduct-ipvsadm': [],
  'ipvsadm-save': ['-S'],
  'ipvsadm-restore': ['-R'],
};
