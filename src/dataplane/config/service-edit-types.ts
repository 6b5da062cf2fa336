/** Steps that change the virtual server: what ipvsadm's commands become, and what the control socket takes. */
import type { Destination, Service, SyncDaemon, SyncRole, VirtualServer } from './service-types.js';

/** What ipvsadm can say of a service; all else stays as it was. */
export interface ServiceRule {
  readonly scheduler: string;
  readonly schedulerFlags: readonly string[];
  readonly persistence: {
    readonly timeoutSeconds: number;
    /** null: each client for itself */
    readonly mask: number | null;
    readonly engine: string | null;
  } | null;
  readonly onePacket: boolean;
}

export type DestinationRule = Omit<Destination, 'near'>;

/** null: the host's own side */
interface Of {
  readonly network: string | null;
  readonly listen: string;
}

export type Edit =
  | ({ readonly do: 'add-service' | 'edit-service'; readonly rule: ServiceRule } & Of)
  | ({ readonly do: 'delete-service' } & Of)
  /** adds one with all that there is to say of it */
  | { readonly do: 'put-service'; readonly service: Service }
  | ({ readonly do: 'add-destination' | 'edit-destination'; readonly destination: DestinationRule } & Of)
  | ({ readonly do: 'delete-destination'; readonly address: string } & Of)
  | { readonly do: 'flush'; readonly network: string | null }
  /**
   * What follows is the whole state, of one network or of all ('*'): what isn't in it goes. Services and destinations
   * that are in it keep what a rule can't say. Of all: daemons too; timeouts stay until they are set.
   */
  | { readonly do: 'replace'; readonly network: string | null }
  /** counts; of one service, or of all where `listen` is null */
  | { readonly do: 'zero'; readonly network: string | null; readonly listen: string | null }
  /** seconds; 0 leaves one as it is */
  | {
      readonly do: 'set-timeouts';
      readonly tcpSeconds: number;
      readonly tcpFinSeconds: number;
      readonly udpSeconds: number;
    }
  | { readonly do: 'put-virtual-server'; readonly virtualServer: VirtualServer }
  | { readonly do: 'start-daemon'; readonly role: SyncRole; readonly daemon: SyncDaemon }
  | { readonly do: 'stop-daemon'; readonly role: SyncRole };

/** A network's name can't be this: of every network, and of the host's own side. */
export const EVERYWHERE = '*';

/** An edit that can't be; none of those with it was performed. */
export class EditRefused extends Error {
  readonly code = 'EDIT_REFUSED';
  override name = 'EditRefused';
  /** which of the edits, from 0 */
  readonly at: number;

  constructor(message: string, at: number) {
    super(message);
    this.at = at;
  }
}
