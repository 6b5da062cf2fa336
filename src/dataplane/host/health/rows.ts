/** Health in the rows of the virtual server. */
import type { Service } from '../../config/service-types.js';
import type { ServiceRow } from '../../ipvs/service-report.js';
import type { HealthKeeper } from './health-keeper.js';

/**
 * The services as they are shown: as the configuration has them, with the weights in force, and the sorry server
 * while it serves.
 */
export function shown(service: Service, health: HealthKeeper): Service {
  const used = new Map(health.inForce(service).destinations.map((each) => [each.address, each]));
  const destinations = service.destinations.map((each) => {
    const found = used.get(each.address) ?? each;
    used.delete(each.address);
    return found;
  });
  return { ...service, destinations: [...destinations, ...used.values()] };
}

/** Says of each row, made of what `shown` gave, how it is. */
export function withHealth(row: ServiceRow, service: Service, health: HealthKeeper): ServiceRow {
  const used = new Set(health.inForce(service).destinations.map(({ address }) => address));
  const own = health.service(service);
  return {
    ...row,
    ...(own && { health: own }),
    destinations: row.destinations.map((each) => {
      const its = health.destination(service, each.address);
      return { ...each, ...(its && { health: its }), ...(!used.has(each.address) && { out: true as const }) };
    }),
  };
}
