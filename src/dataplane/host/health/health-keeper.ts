/**
 * The health of all destinations. It stands between what is wanted and what is in force: `inForce` says what a
 * wanted service comes to, `follow` starts, keeps and ends checks by the difference to before, and `changed` is
 * called when what is in force is another than before. The configuration itself stays as it was written.
 */
import { isDeepStrictEqual } from 'node:util';
import { parseSocket } from '../../config/service-address.js';
import type { Health, Service } from '../../config/service-types.js';
import { ApplyError, type Logger } from '../../face.js';
import type { DestinationHealth, ServiceHealth } from '../../report.js';
import type { Check } from './check.js';
import { Checker, type Result, type Surroundings } from './checker.js';
import { type Clock, SYSTEM_CLOCK } from './clock.js';
import { Judge } from './judge.js';
import { Pinger } from './kinds/icmp.js';
import { checkFor } from './kinds/kinds.js';
import { type Standing, standing } from './standing.js';
import { Turns } from './turns.js';

/** Checks at once; the others wait for their turn. */
const AT_ONCE = 256;

export interface HealthParts {
  readonly logger: Logger;
  /** What is in force is another: it is to be asked for anew. */
  readonly changed: () => void;
  /** Faults of the data path at a destination in force, counted up (DestinationCounts.failures). */
  readonly failures: (service: Service, address: string) => number;
  readonly clock?: Clock;
  readonly random?: () => number;
  readonly checkFor?: (health: Health, pinger: Pinger) => Check;
  readonly pinger?: Pinger;
}

/** A destination that is checked. */
interface Patient {
  readonly judge: Judge;
  weight: number | null;
  since: Date;
  error: string | null;
  failures: number;
  checker: Checker;
}

interface Ward {
  service: Service;
  reached: boolean;
  /** by address */
  readonly patients: Map<string, Patient>;
}

export class HealthKeeper {
  readonly #parts: HealthParts;
  readonly #around: Surroundings;
  readonly #pinger: Pinger;
  readonly #wards = new Map<string, Ward>();

  constructor(parts: HealthParts) {
    this.#parts = parts;
    const { clock = SYSTEM_CLOCK, random = Math.random } = parts;
    this.#around = { clock, random, turns: new Turns(AT_ONCE) };
    this.#pinger = parts.pinger ?? new Pinger(parts.logger);
  }

  /** Throws ApplyError where a check can't be had on this host. */
  allow(services: readonly Service[]): void {
    for (const { listen, destinations, health } of services) {
      if (health?.kind !== 'icmp') continue;
      for (const family of new Set(destinations.map(({ address }) => parseSocket(address)?.family ?? 4))) {
        const fault = this.#pinger.fault(family);
        if (fault === undefined) continue;
        const needs = 'health.kind icmp needs the package raw-socket and CAP_NET_RAW';
        throw new ApplyError(`service ${listen}: ${needs}: ${fault}`);
      }
    }
  }

  /** What the wanted service comes to. */
  readonly inForce = (service: Service): Service => this.#standing(service).service;

  /** These are wanted from now on, and in force. */
  follow(services: readonly Service[]): void {
    const before = new Map(this.#wards);
    this.#wards.clear();
    for (const service of services) {
      const key = keyOf(service);
      const known = before.get(key);
      const ward: Ward = { service, reached: known?.reached ?? true, patients: new Map() };
      this.#admit(ward, known);
      this.#wards.set(key, ward);
      this.#settle(ward);
      before.delete(key);
    }
    for (const { patients } of before.values()) for (const { checker } of patients.values()) checker.stop();
  }

  stop(): void {
    this.follow([]);
    this.#pinger.close();
  }

  /** Undefined: it isn't checked. */
  destination(service: Service, address: string): DestinationHealth | undefined {
    const patient = this.#wards.get(keyOf(service))?.patients.get(address);
    if (patient === undefined) return undefined;
    const { judge, since, error } = patient;
    return { up: judge.up, since: since.toISOString(), error };
  }

  /** Undefined: nothing depends on it. */
  service(service: Service): ServiceHealth | undefined {
    if (service.health === null && service.sorryServer === null) return undefined;
    const { reached, weight } = this.#standing(service);
    return { quorum: reached, weight, sorry: !reached && service.sorryServer !== null };
  }

  #standing(service: Service): Standing {
    const ward = this.#wards.get(keyOf(service));
    const vitals = (address: string) => {
      const patient = service.health === null ? undefined : ward?.patients.get(address);
      return patient && { up: patient.judge.up, weight: patient.weight };
    };
    return standing(service, vitals, ward?.reached ?? true);
  }

  /** Those that stay keep what is known of them; their checks are begun anew only if they are others. */
  #admit(ward: Ward, before: Ward | undefined): void {
    const { service, patients } = ward;
    const { health } = service;
    const same = before !== undefined && isDeepStrictEqual(before.service.health, health);
    for (const { address } of health === null ? [] : service.destinations) {
      const known = before?.patients.get(address);
      if (known !== undefined && same) patients.set(address, known);
      else patients.set(address, this.#patient(service, health!, address, known));
    }
    for (const [address, old] of before?.patients ?? []) {
      if (patients.get(address) !== old) old.checker.stop();
    }
  }

  #patient(service: Service, health: Health, address: string, known: Patient | undefined): Patient {
    const socket = parseSocket(address)!;
    const target = {
      service: service.listen,
      address: socket.address,
      port: health.port ?? socket.port ?? 0,
    };
    const check = (this.#parts.checkFor ?? checkFor)(health, this.#pinger);
    const key = keyOf(service);
    const tell = (result: Result) => this.#heard(key, address, result);
    const checker = new Checker(check, target, health, this.#around, tell);
    checker.start();
    const { judge = new Judge(), since = new Date(), error = null } = known ?? {};
    const dynamic = health.kind === 'script' && health.dynamicWeight;
    const failures = this.#parts.failures(service, address);
    return { judge, weight: dynamic ? (known?.weight ?? null) : null, since, error, failures, checker };
  }

  #heard(key: string, address: string, result: Result): void {
    const ward = this.#wards.get(key);
    const patient = ward?.patients.get(address);
    const health = ward?.service.health;
    if (ward === undefined || patient === undefined || !health) return;
    const bad = this.#passive(ward.service, address, patient, health) ?? (result.good ? null : result.error);
    const fields = { service: ward.service.listen, destination: address };
    if (bad !== null) {
      patient.error = bad;
      this.#parts.logger.debug({ ...fields, error: bad }, 'a health check failed');
    }
    const weight = result.good && result.weight !== undefined ? result.weight : patient.weight;
    const turned = patient.judge.take(bad === null, health);
    if (bad === null && patient.judge.up) patient.error = null;
    if (!turned && weight === patient.weight) return;
    if (weight !== patient.weight) {
      this.#parts.logger.info({ ...fields, weight }, 'a health check sets the weight of a destination');
    }
    patient.weight = weight;
    if (turned) {
      patient.since = new Date();
      if (bad === null) this.#parts.logger.info(fields, 'a destination is up again');
      else this.#parts.logger.warn({ ...fields, error: bad }, 'a destination is down');
    }
    this.#settle(ward);
    this.#parts.changed();
  }

  /** What the data path saw since the last check, when it is enough to be a failed one. */
  #passive(service: Service, address: string, patient: Patient, { passiveFailures }: Health): string | null {
    const now = this.#parts.failures(service, address);
    // A destination that left and came back counts from 0.
    const since = now < patient.failures ? now : now - patient.failures;
    patient.failures = now;
    if (passiveFailures === 0 || since < passiveFailures) return null;
    return `${since} resets and timeouts of its connections since the last check`;
  }

  /** The quorum as it is now. */
  #settle(ward: Ward): void {
    const { service, reached: before } = ward;
    const { reached, weight } = this.#standing(service);
    if (reached === before) return;
    ward.reached = reached;
    if (service.health === null && service.sorryServer === null) return;
    const fields = { service: service.listen, weight, quorum: service.quorum };
    if (reached) this.#parts.logger.info(fields, 'a service has its quorum again');
    else {
      const then = service.sorryServer === null ? 'who is left goes on' : 'the sorry server answers';
      this.#parts.logger.warn(fields, `a service has lost its quorum: ${then}`);
    }
  }
}

const keyOf = ({ network, listen }: Pick<Service, 'network' | 'listen'>): string =>
  `${network ?? ''}\0${listen}`;
