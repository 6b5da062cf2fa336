/** The path of a network namespace as an endpoint names it: a name under /run/netns, or a path already. */
export function netnsPath(netns: string): string {
  if (!netns.startsWith('/')) return `/run/netns/${netns}`;
  return netns.startsWith('/var/run/') ? netns.slice('/var'.length) : netns;
}
