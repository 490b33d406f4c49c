// Parsers of option values: one clear error instead of NaN.

import { InvalidArgumentError } from 'commander';
import type { AttentionSlice } from '@darkroom/diffusers';
import { offloads } from './task.ts';
import type { Offload } from './task.ts';

export function integer(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isInteger(value))
    throw new InvalidArgumentError(`must be an integer, got '${text}'`);
  return value;
}

export function number(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value))
    throw new InvalidArgumentError(`must be a number, got '${text}'`);
  return value;
}

/** Seeds have 64 bits, more than a double holds. */
export function seed(text: string): bigint {
  if (!/^\d+$/.test(text) || BigInt(text) >= 2n ** 64n) {
    throw new InvalidArgumentError(`must be an integer from 0 to 2^64 - 1, got '${text}'`);
  }
  return BigInt(text);
}

/** 'auto', 'max' or heads a slice. */
export function attentionSlice(text: string): AttentionSlice {
  if (text === 'auto' || text === 'max') return text;
  if (!/^[1-9]\d*$/.test(text))
    throw new InvalidArgumentError(`must be auto, max or an integer >= 1, got '${text}'`);
  return Number(text);
}

export function offload(text: string): Offload {
  const known = offloads.find((kind) => kind === text);
  if (!known) throw new InvalidArgumentError(`must be ${offloads.join(' or ')}, got '${text}'`);
  return known;
}
