/** Families of samples in the Prometheus text format (exposition format 0.0.4). */
export type Labels = Readonly<Record<string, string | number>>;
export type Samples = readonly (readonly [Labels, number])[];

/** '' where there is no sample. */
export function family(name: string, type: 'counter' | 'gauge', help: string, samples: Samples): string {
  if (samples.length === 0) return '';
  const full = `viaduct_${name}`;
  const lines = samples.map(([labels, value]) => `${full}${labelText(labels)} ${value}\n`);
  return `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${lines.join('')}`;
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(String(value))}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
