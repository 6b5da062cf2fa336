/** The rows of the virtual server. */
import type { Service } from '../config/service-types.js';
import { NO_COUNTS, NO_RATES, type ServiceRow } from '../ipvs/service-report.js';

/** As the configuration says it: nothing has been counted yet. */
export function virtualServerRows(services: readonly Service[]): ServiceRow[] {
  return services.map(
    ({ network, listen, scheduler, schedulerFlags, persistence, onePacket, destinations }) => ({
      ...{ network, listen, scheduler, schedulerFlags, persistence, onePacket },
      stats: { ...NO_COUNTS },
      rates: { ...NO_RATES },
      destinations: destinations.map(
        ({ address, weight, forward, tunnel, upperThreshold, lowerThreshold }) => ({
          ...{ address, weight, forward, tunnel, upperThreshold, lowerThreshold },
          ...{ active: 0, inactive: 0, persistent: 0 },
          stats: { ...NO_COUNTS },
          rates: { ...NO_RATES },
        }),
      ),
    }),
  );
}
