// Chooses the device of a worker: the one that was asked for, or the first that opens.

import { ArgumentError, DeviceError } from '@darkroom/core';
import type { Device } from '@darkroom/core';
import type { DeviceReport } from './messages.ts';

/** Functions that open devices, by name, the preferred one first. */
export type DeviceOpeners = Readonly<Record<string, () => Promise<Device>>>;

/**
 * The device `wanted`; or, where none is named, the first that opens, with the reasons of those before it.
 * @throws ArgumentError for an unknown name, DeviceError if none opens
 */
export async function openDevice(
  openers: DeviceOpeners,
  wanted: string | undefined,
): Promise<{ device: Device; report: DeviceReport }> {
  const names = Object.keys(openers);
  if (wanted !== undefined && !names.includes(wanted))
    throw new ArgumentError(`device: must be one of ${names.join(', ')}, got '${wanted}'`);
  const reasons: string[] = [];
  for (const name of wanted === undefined ? names : [wanted]) {
    try {
      const device = await openers[name]!();
      const { fingerprint } = device.caps;
      const why = reasons.length > 0 ? { why: reasons.join('; ') } : {};
      return { device, report: { name, description: fingerprint, ...why, ...noteOn(device) } };
    } catch (error) {
      if (!(error instanceof DeviceError)) throw error;
      reasons.push(error.message);
    }
  }
  throw new DeviceError(reasons.join('; '));
}

/** Threads share memory, which browsers give to isolated pages alone. */
function noteOn({ backend }: Device): { note?: string } {
  if (backend.name !== 'cpu' || globalThis.crossOriginIsolated) return {};
  return {
    note: 'one thread computes: more need cross-origin isolation (Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp)',
  };
}
