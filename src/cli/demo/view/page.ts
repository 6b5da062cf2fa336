/** The demo's one screen as a pure function: what is known now → a page of text. Nothing here reads a clock or a terminal. */
import type { Stats } from '../../../dataplane/report.js';
import {
  MEASUREMENTS,
  NAMES,
  type Name,
  type Results,
  ratio,
  SIDES,
  type Side,
  short,
  totals,
} from '../figures.js';
import { bar, Canvas, graph, type Ink } from './canvas.js';

export interface HostPicture {
  name: string;
  underlay: string;
  workloads: { name: string; address: string }[];
  stats?: Stats;
}

export interface Picture {
  /** what is being done, for the title line */
  step: string;
  seconds: number;
  side: Side;
  left: HostPicture;
  right: HostPicture;
  results: Results;
  /** the measurement that runs now and what it has shown so far */
  live?: { name: Name; history: number[]; expected: number };
  /** sentence at the foot of the page */
  note: string;
  noteInk: Ink;
}

const WIDTH = 80;
const BOX = 27;
const HEIGHT = 5;

/** Draws for a terminal of that size; less than 80 × 24 cuts off at the right and at the foot. */
export function draw(picture: Picture, columns: number, rows: number): Canvas {
  const canvas = new Canvas(Math.max(1, columns), Math.max(1, rows - 1));
  const left = Math.max(0, (columns - WIDTH) >> 1);
  title(canvas, left, picture);
  topology(canvas, left, 1, picture);
  live(canvas, left, 8, picture);
  canvas.putRight(left + WIDTH - 1, 11, 'Viaduct ÷ kernel', 'dim');
  results(canvas, left, 12, picture);
  canvas.put(left + 1, 22, picture.note, picture.noteInk);
  return canvas;
}

function title(canvas: Canvas, x: number, { step, seconds }: Picture): void {
  canvas.put(x + 1, 0, 'VIADUCT', 'bold');
  canvas.put(x + 10, 0, step);
  canvas.putRight(x + WIDTH - 1, 0, `${seconds.toFixed(0)} s`, 'dim');
}

/** Two hosts, their workloads, the wire between them, and under each what its data plane has counted. */
function topology(canvas: Canvas, x: number, y: number, picture: Picture): void {
  const ink = picture.side;
  const far = x + WIDTH - 1 - BOX;
  for (const [at, host] of [
    [x + 1, picture.left],
    [far, picture.right],
  ] as const) {
    canvas.box(at, y, BOX, HEIGHT);
    canvas.put(at + 2, y, ` ${host.name} `, 'bold');
    for (const [i, workload] of host.workloads.entries()) {
      const text = `${workload.name}  ${workload.address}`;
      if (at === far) {
        canvas.putRight(at + BOX - 4, y + 1 + i, text);
        canvas.put(at + BOX - 3, y + 1 + i, '●', ink);
      } else {
        canvas.put(at + 4, y + 1 + i, text);
        canvas.put(at + 2, y + 1 + i, '●', ink);
      }
    }
    if (picture.side === 'viaduct') counters(canvas, at, y + HEIGHT, host);
  }
  if (picture.side === 'viaduct') dropped(canvas, x + WIDTH / 2, y + HEIGHT, picture);
  const end = y + HEIGHT - 2;
  canvas.putRight(x + 1 + BOX - 1, end, `${picture.left.underlay} `, 'dim');
  canvas.put(far + 1, end, ` ${picture.right.underlay}`, 'dim');
  wire(canvas, x + 1 + BOX - 1, far, end, picture);
}

/** The underlay; while a measurement runs, frames travel along it. */
function wire(canvas: Canvas, from: number, to: number, y: number, picture: Picture): void {
  const ink = picture.side;
  const length = to - from - 1;
  canvas.put(from, y, `╞${'═'.repeat(length)}╡`, 'dim');
  const name = picture.side === 'viaduct' ? 'Viaduct' : 'kernel vxlan';
  const kind = picture.side === 'viaduct' ? underlayOf(picture.left.stats) : 'bridge + veth';
  canvas.put(from + 1 + ((length - name.length) >> 1), y - 2, name, ink);
  canvas.put(from + 1 + ((length - kind.length) >> 1), y - 1, kind, 'dim');
  if (picture.live === undefined) return;
  const phase = Math.floor(picture.seconds * 10);
  for (let i = 0; i < length; i++) if ((i - phase) % 5 === 0) canvas.put(from + 1 + i, y, '▶', ink);
}

const underlayOf = (stats: Stats | undefined) =>
  stats === undefined ? '' : `${stats.underlay.kind} underlay`;

function counters(canvas: Canvas, x: number, y: number, host: HostPicture): void {
  if (host.stats === undefined) return;
  const { txPackets, txBytes, rxPackets, rxBytes } = totals(host.stats);
  canvas.put(x + 1, y, `out ${short(txPackets).padStart(7)} pkts  ${short(txBytes).padStart(7)}B`, 'dim');
  canvas.put(x + 1, y + 1, `in  ${short(rxPackets).padStart(7)} pkts  ${short(rxBytes).padStart(7)}B`, 'dim');
}

function dropped(canvas: Canvas, middle: number, y: number, { left, right }: Picture): void {
  if (left.stats === undefined || right.stats === undefined) return;
  const drops = totals(left.stats).drops + totals(right.stats).drops;
  const text = `${short(drops).trim()} dropped`;
  canvas.put(middle - (text.length >> 1), y, text, drops === 0 ? 'dim' : 'bad');
}

/** What is being measured: its newest value, and how it went up and down. */
function live(canvas: Canvas, x: number, y: number, { live: now, side }: Picture): void {
  if (now === undefined) return;
  const { title: name, format } = MEASUREMENTS[now.name];
  const last = now.history.at(-1);
  canvas.put(x + 1, y, `${name} over ${side === 'viaduct' ? 'Viaduct' : "the kernel's vxlan"}`);
  if (last !== undefined) canvas.putRight(x + WIDTH - 1, y, format(last), side);
  const rows = graph(now.history, WIDTH - 2, 2, now.expected);
  for (const [i, row] of rows.entries()) canvas.put(x + 1, y + 1 + i, row, side);
}

/** A pair of bars a measurement, and Viaduct's figure divided by the kernel's. */
function results(canvas: Canvas, x: number, y: number, picture: Picture): void {
  for (const [i, name] of NAMES.entries()) {
    const { title: text, format, lowerIsBetter } = MEASUREMENTS[name];
    const pair = [picture.results.viaduct[name], picture.results.kernel[name]];
    const maximum = Math.max(...pair.map((value) => value ?? 0));
    canvas.put(x + 1, y + 2 * i, text, pair.some((value) => value !== undefined) ? 'plain' : 'dim');
    for (const [j, side] of (['viaduct', 'kernel'] as const).entries()) {
      const value = pair[j];
      const row = y + 2 * i + j;
      canvas.put(x + 18, row, SIDES[side], value === undefined ? 'dim' : side);
      if (value === undefined) continue;
      canvas.putRight(x + 39, row, format(value));
      canvas.put(x + 41, row, bar(value, maximum, 30), side);
    }
    const quotient = ratio(picture.results, name);
    if (quotient === undefined) continue;
    const good = lowerIsBetter ? quotient <= 1 : quotient >= 1;
    canvas.putRight(x + WIDTH - 1, y + 2 * i, `${quotient.toFixed(2)} ×`, good ? 'good' : 'bold');
  }
}
