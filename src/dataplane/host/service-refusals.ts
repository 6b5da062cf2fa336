/** What is wanted of the virtual server and can't be had is refused by name, never ignored. */
import type { Service } from '../config/service-types.js';
import { ApplyError } from '../face.js';

/** Index of the network with the name; undefined: there is none. */
export type IndexOf = (network: string) => number | undefined;

export function refuse(service: Service, indexOf: IndexOf): void {
  const { network } = service;
  if (network !== null && indexOf(network) === undefined) {
    throw new ApplyError(
      `service ${service.listen}: there is no network ${network}; remove the service with it`,
    );
  }
  const faults: string[] = [];
  const no = (fault: boolean, name: string) => {
    if (fault) faults.push(name);
  };
  no(service.onePacket && service.listen.startsWith('mark'), 'onePacket with a mark');
  no(service.listen.startsWith('mark') && network !== null, 'a mark inside a network');
  no(service.resetOnExpiry && network !== null, 'resetOnExpiry in a network');
  const servers =
    service.sorryServer === null ? service.destinations : [...service.destinations, service.sorryServer];
  const elsewhere = servers.some(({ forward }) => forward !== 'nat');
  no(service.resetOnExpiry && elsewhere, 'resetOnExpiry with forward other than nat');
  no(service.synProxy && network !== null, 'synProxy in a network');
  no(
    service.synProxy && elsewhere,
    'synProxy with forward other than nat, which leaves no way back through here',
  );
  // Checks go out on the host's own side.
  no(service.health !== null && service.network !== null, 'health in a network');
  no(network !== null && elsewhere, 'forward other than nat inside a network');
  if (faults.length === 0) return;
  throw new ApplyError(`service ${service.listen}: not supported yet: ${faults.join(', ')}; leave it out`);
}
