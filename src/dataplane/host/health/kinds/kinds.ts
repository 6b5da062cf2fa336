/** The check that a configuration asks for. */
import type { Health } from '../../../config/service-types.js';
import type { Check } from '../check.js';
import { dnsCheck } from './dns.js';
import { httpCheck } from './http.js';
import type { Pinger } from './icmp.js';
import { scriptCheck } from './script.js';
import { smtpCheck } from './smtp.js';
import { tcp } from './tcp.js';
import { udpCheck } from './udp.js';

export function checkFor(health: Health, pinger: Pinger): Check {
  switch (health.kind) {
    case 'tcp':
      return tcp;
    case 'icmp':
      return pinger.check;
    case 'http':
    case 'https':
      return httpCheck(health);
    case 'smtp':
      return smtpCheck(health.helo);
    case 'dns':
      return dnsCheck(health);
    case 'udp':
      return udpCheck(health);
    case 'script':
      return scriptCheck(health);
  }
}
