/**
 * What is in force of a service, given the health of its destinations (keepalived's check_api.c and ipwrapper.c):
 *
 *     down                    leaves the service; with inhibitOnFailure its weight is 0
 *     weight from a script    takes the place of the configuration's, but of 0: who is drained stays so
 *     quorum lost             with a sorry server, that one alone serves; without one, whoever is up goes on
 */
import type { Destination, Service } from '../../config/service-types.js';

/** What is known of a destination's health. */
export interface Vitals {
  readonly up: boolean;
  /** as its script said last; null: the configuration's */
  readonly weight: number | null;
}

export interface Standing {
  readonly reached: boolean;
  /** weights of the usable destinations */
  readonly weight: number;
  readonly service: Service;
}

/**
 * @param vitals of the destination with this address; undefined: it isn't checked, and taken for up
 * @param reached whether the quorum was reached before
 */
export function standing(
  service: Service,
  vitals: (address: string) => Vitals | undefined,
  reached: boolean,
): Standing {
  const { sorryServer, health } = service;
  const inhibit = health?.inhibitOnFailure ?? false;
  const destinations: Destination[] = [];
  let weight = 0;
  for (const destination of service.destinations) {
    const known = vitals(destination.address);
    const own = destination.weight === 0 ? 0 : (known?.weight ?? destination.weight);
    if (known === undefined || known.up) {
      weight += own;
      destinations.push(own === destination.weight ? destination : { ...destination, weight: own });
    } else if (inhibit) {
      destinations.push({ ...destination, weight: 0 });
    }
  }
  const enough = quorumReached(reached, weight, service);
  if (enough || sorryServer === null)
    return { reached: enough, weight, service: { ...service, destinations } };
  const others = inhibit ? service.destinations.filter(({ address }) => address !== sorryServer.address) : [];
  const drained = others.map((each) => ({ ...each, weight: 0 }));
  return { reached: false, weight, service: { ...service, destinations: [...drained, sorryServer] } };
}

/** Lost below quorum - hysteresis, and without anybody; back from quorum + hysteresis on (update_quorum_state). */
function quorumReached(
  before: boolean,
  weight: number,
  { quorum, quorumHysteresis }: Pick<Service, 'quorum' | 'quorumHysteresis'>,
): boolean {
  if (!before) return weight >= quorum + quorumHysteresis;
  return weight > 0 && weight >= quorum - quorumHysteresis;
}
