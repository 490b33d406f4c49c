// Parsers of option values: one clear error instead of NaN, before anything is loaded.

import { InvalidArgumentError } from 'commander';
import { hint } from '@darkroom/core';
import { schedulerAliases, schedulerClasses } from '@darkroom/diffusers';
import type { AttentionSlice } from '@darkroom/diffusers';
import { offloads } from './task.ts';
import type { Offload } from './task.ts';

export function integer(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isInteger(value))
    throw new InvalidArgumentError(`must be an integer, got '${text}'`);
  return value;
}

/** An integer of at least 1. */
export function count(text: string): number {
  const value = integer(text);
  if (value < 1 || !Number.isSafeInteger(value))
    throw new InvalidArgumentError(`must be an integer >= 1, got ${text}`);
  return value;
}

export function number(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value))
    throw new InvalidArgumentError(`must be a number, got '${text}'`);
  return value;
}

export function strength(text: string): number {
  const value = number(text);
  if (value < 0 || value > 1) throw new InvalidArgumentError(`must be from 0 to 1, got ${text}`);
  return value;
}

export function quality(text: string): number {
  const value = integer(text);
  if (value < 1 || value > 100)
    throw new InvalidArgumentError(`must be an integer from 1 to 100, got ${text}`);
  return value;
}

/** Seeds have 64 bits, more than a double holds. */
export function seed(text: string): bigint {
  if (!/^\d+$/.test(text) || BigInt(text) >= 2n ** 64n) {
    throw new InvalidArgumentError(`must be an integer from 0 to 2^64 - 1, got '${text}'`);
  }
  return BigInt(text);
}

/** 'auto', 'max' or heads a slice; without a value 'auto'. */
export function attentionSlice(text: string): AttentionSlice {
  if (text === '') return 'auto';
  if (text === 'auto' || text === 'max') return text;
  if (!/^[1-9]\d*$/.test(text))
    throw new InvalidArgumentError(`must be auto, max or an integer >= 1, got '${text}'`);
  return Number(text);
}

/** Edge of a tile; without a value the VAE's own. */
export const tiling = (text: string): number | true => (text === '' ? true : integer(text));

/** File of a trace; without a value whole steps are traced as they are drawn. */
export const traceFile = (text: string): string | true => (text === '' ? true : text);

export function offload(text: string): Offload {
  const known = offloads.find((kind) => kind === text);
  if (!known) throw new InvalidArgumentError(`must be ${offloads.join(' or ')}, got '${text}'`);
  return known;
}

/** A short name of a scheduler, or a class. */
export function scheduler(text: string): string {
  const names = [...Object.keys(schedulerAliases), ...Object.keys(schedulerClasses)];
  const known = names.find((name) => name.toLowerCase() === text.toLowerCase());
  if (!known)
    throw new InvalidArgumentError(
      `must be one of ${Object.keys(schedulerAliases).join(', ')}, or a class, got '${text}'${hint(text, names)}`,
    );
  return known;
}
