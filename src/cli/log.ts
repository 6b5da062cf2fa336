/** The data plane's log: JSON lines on stderr, or one readable line each when a person is looking. */
import { destination, pino } from 'pino';
import type { Logger } from '../dataplane/face.js';
import type { LogLevel } from './choices.js';
import { type Paint, painter, type Style } from './text/style.js';

export function createLogger(level: LogLevel): Logger {
  const options = {
    level,
    base: null,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    messageKey: 'message',
  };
  if (!process.stderr.isTTY) return pino(options, destination({ fd: 2, sync: true }));
  const paint = painter(process.stderr);
  return pino(options, { write: (line: string) => void process.stderr.write(prettyLine(line, paint)) });
}

const LEVEL_STYLES: Readonly<Record<string, Style>> = {
  debug: 'dim',
  info: 'green',
  warn: 'yellow',
  error: 'red',
};

/** A JSON line of the log as `12:34:56 info  message  field=value`. */
export function prettyLine(json: string, paint: Paint): string {
  const { level, time, message, ...fields } = JSON.parse(json) as Record<string, unknown>;
  const clock = String(time).slice(11, 19);
  const name = String(level);
  const rest = Object.entries(fields).map(([key, value]) => paint('dim', `${key}=${fieldText(value)}`));
  const words = [paint('dim', clock), paint(LEVEL_STYLES[name] ?? 'bold', name.padEnd(5)), String(message)];
  return `${[...words, ...rest].join(' ')}\n`;
}

function fieldText(value: unknown): string {
  if (typeof value === 'string') return /[\s"=]/.test(value) || value === '' ? JSON.stringify(value) : value;
  if (typeof value === 'object' && value !== null && 'stack' in value) return String(value.stack);
  return JSON.stringify(value) ?? String(value);
}
