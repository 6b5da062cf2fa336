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
] as const;
export type Table = (typeof TABLES)[number];

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
