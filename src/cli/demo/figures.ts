/** What the demo measures, how a figure is written, and the two columns of the table. */
import type { Stats } from '../../dataplane/report.js';

export type Side = 'viaduct' | 'kernel';

export const SIDES: Record<Side, string> = { viaduct: 'Viaduct', kernel: 'kernel' };

interface Measurement {
  title: string;
  /** of the number in Figures and in the JSON document */
  unit: string;
  lowerIsBetter: boolean;
  format(value: number): string;
}

/** In the order in which they are measured. */
export const MEASUREMENTS = {
  ping4: {
    title: 'ping, IPv4',
    unit: 'ms',
    lowerIsBetter: true,
    format: (value) => `${value.toFixed(3)} ms`,
  },
  ping6: {
    title: 'ping, IPv6',
    unit: 'ms',
    lowerIsBetter: true,
    format: (value) => `${value.toFixed(3)} ms`,
  },
  http: {
    title: 'HTTP transfer',
    unit: 'MB/s',
    lowerIsBetter: false,
    format: (value) => `${value.toFixed(0)} MB/s`,
  },
  tcp: {
    title: 'TCP, one stream',
    unit: 'Gbit/s',
    lowerIsBetter: false,
    format: (value) => `${value.toFixed(2)} Gbit/s`,
  },
  udp: {
    title: 'UDP, 64 bytes',
    unit: 'packets/s',
    lowerIsBetter: false,
    format: (value) => `${(value / 1000).toFixed(1)} k/s`,
  },
} as const satisfies Record<string, Measurement>;

export type Name = keyof typeof MEASUREMENTS;
export const NAMES = Object.keys(MEASUREMENTS) as Name[];

export type Figures = Partial<Record<Name, number>>;

export interface Results {
  viaduct: Figures;
  kernel: Figures;
}

/** Viaduct's figure divided by the kernel's; undefined until both are there. */
export function ratio(results: Results, name: Name): number | undefined {
  const { [name]: ours } = results.viaduct;
  const { [name]: theirs } = results.kernel;
  return ours === undefined || theirs === undefined || theirs === 0 ? undefined : ours / theirs;
}

/** 12345678 → '12.3 M'. */
export function short(value: number): string {
  if (value < 1000) return `${Math.round(value)} `;
  const step = Math.min(4, Math.floor(Math.log10(value) / 3));
  const scaled = value / 1000 ** step;
  return `${scaled.toFixed(scaled < 100 ? 1 : 0)} ${['', 'k', 'M', 'G', 'T'][step]}`;
}

/** What a host's data plane has sent to and received from other hosts, and all that it dropped. */
export function totals(stats: Stats) {
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  return {
    txPackets: sum(stats.vteps.map((vtep) => vtep.txPackets)),
    txBytes: sum(stats.vteps.map((vtep) => vtep.txBytes)),
    rxPackets: sum(stats.vteps.map((vtep) => vtep.rxPackets)),
    rxBytes: sum(stats.vteps.map((vtep) => vtep.rxBytes)),
    drops: sum(Object.values(stats.drops)),
  };
}

/** The closing table, for every kind of output. */
export function table(results: Results): string[] {
  const line = (title: string, ours: string, theirs: string, quotient: string) =>
    `  ${title.padEnd(18)}${ours.padStart(16)}${theirs.padStart(16)}${quotient.padStart(10)}`;
  return [
    line('', 'Viaduct', 'kernel vxlan', 'ratio'),
    ...NAMES.map((name) => {
      const { title, format } = MEASUREMENTS[name];
      const text = (value: number | undefined) => (value === undefined ? '–' : format(value));
      const quotient = ratio(results, name);
      return line(
        title,
        text(results.viaduct[name]),
        text(results.kernel[name]),
        quotient === undefined ? '–' : quotient.toFixed(2),
      );
    }),
  ];
}
