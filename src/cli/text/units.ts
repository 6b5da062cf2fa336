/** Numbers as people read them. */

const DECIMAL = ['', 'k', 'M', 'G', 'T', 'P'];
const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

function scaled(value: number, base: number): [string, number] {
  let step = 0;
  let rest = value;
  while (rest >= base && step < 5) {
    rest /= base;
    step++;
  }
  return [step === 0 && Number.isInteger(rest) ? String(rest) : rest.toFixed(rest < 100 ? 1 : 0), step];
}

/** 1536 → '1.5 KiB' */
export function bytes(value: number): string {
  const [text, step] = scaled(value, 1024);
  return `${text} ${BINARY[step]}`;
}

/** Bits per second of bytes per second: '1.2 Gbit/s' */
export function bitRate(bytesPerSecond: number): string {
  const [text, step] = scaled(bytesPerSecond * 8, 1000);
  return `${text} ${DECIMAL[step]}bit/s`;
}

/** '12.3 kpps' */
export function packetRate(perSecond: number): string {
  const [text, step] = scaled(perSecond, 1000);
  return `${text} ${DECIMAL[step]}pps`;
}

/** Seconds as '4s', '3m20s', '2h05m', '3d04h'. */
export function duration(seconds: number): string {
  const whole = Math.floor(seconds);
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0');
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}h${two((whole % 3600) / 60)}m`;
  return `${Math.floor(whole / 86400)}d${two((whole % 86400) / 3600)}h`;
}
