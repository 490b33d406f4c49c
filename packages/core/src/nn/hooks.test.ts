// Hooks around a forward: their order, what they may do with it, and the state that belongs to a call.

import { beforeEach, expect, test } from 'vitest';
import { nullBackend } from '../backends/null.ts';
import { Device } from '../device.ts';
import { zeros } from '../ops/fill.ts';
import { add } from '../ops/pointwise.ts';
import { recordGraph } from '../graph/record.ts';
import { keep, scope } from '../scope.ts';
import type { Tensor } from '../tensor.ts';
import { CallState, currentCallState } from './call-state.ts';
import type { Hook } from './hooks.ts';
import { Module } from './module.ts';

/** Counts its runs. */
class Block extends Module<[x: Tensor], Tensor> {
  runs = 0;
  override forward(x: Tensor): Tensor {
    this.runs++;
    return add(x, 1);
  }
}
class Net extends Module<[x: Tensor], Tensor> {
  first: Block = new Block();
  second: Block = new Block();
  override forward(x: Tensor): Tensor {
    return this.second.call(this.first.call(x));
  }
}
type BlockHook = Hook<[x: Tensor], Tensor>;

let device: Device;
let x: Tensor;
beforeEach(() => {
  device = new Device(nullBackend());
  x = keep(zeros([2, 2], { device }));
});

test('a hook encloses those attached after it, and the forward', () => {
  const block = new Block();
  const seen: string[] = [];
  const hook = (name: string): BlockHook => ({
    name,
    preForward: () => void seen.push(`${name} before`),
    around(_, args, next) {
      seen.push(`${name} around`);
      const out = next(...args);
      seen.push(`${name} around it was`);
      return out;
    },
    postForward: () => void seen.push(`${name} after`),
  });
  for (const name of ['a', 'b']) block.addHook(hook(name));
  scope(() => void block.call(x));
  expect(seen).toEqual([
    'a before',
    'a around',
    'b before',
    'b around',
    'b around it was',
    'b after',
    'a around it was',
    'a after',
  ]);
});

test('around may change arguments and result, run the module twice, or not at all', () => {
  const block = new Block();
  block.addHook({ name: 'twice', around: (_, args, next) => next(next(...args)) });
  scope(() => void block.call(x));
  expect(block.runs).toBe(2);
  block.addHook({ name: 'never', around: (_, [given]) => add(given, 5) });
  const before = device.memory().live;
  const out = block.call(x);
  expect(block.runs).toBe(2);
  expect(device.memory().live - before).toBe(256); // the result alone
  out.dispose();
  expect(device.memory().live).toBe(before);
});

/** Every second call of a module in one state gives what the call before gave. */
function stepCache(): BlockHook {
  class Kept {
    last: Tensor | undefined;
    [Symbol.dispose](): void {
      this.last?.dispose();
    }
  }
  return {
    name: 'step cache',
    around(module, args, next, state) {
      const kept = state.get(module, () => new Kept());
      using last = kept.last;
      kept.last = undefined;
      if (last) return last.alias(); // a handle of the caller's scope: what is kept belongs to none
      const out = next(...args);
      kept.last = keep(out.alias());
      return out;
    },
  };
}

test('state belongs to a call: calls whose steps take turns do not see each other', () => {
  const net = new Net();
  const hook = stepCache();
  for (const block of [net.first, net.second]) block.addHook(hook);
  const { live } = device.memory();
  using one = new CallState();
  const other = new CallState();
  const step = (state: CallState): void => state.run(() => scope(() => void net.call(x)));
  for (const [state, runs] of [[one, 1], [other, 2], [one, 2], [other, 2], [other, 3], [one, 4]] as const) {
    step(state);
    expect([net.first.runs, net.second.runs]).toEqual([runs, runs]);
  }
  other.dispose();
  one.dispose();
  expect(device.memory().live).toBe(live); // what the states kept went with them
}); // prettier-ignore

test('without a state each call of a hooked module has its own, which ends with it', () => {
  const block = new Block();
  block.addHook(stepCache());
  const { live } = device.memory();
  for (let i = 0; i < 3; i++) scope(() => void block.call(x));
  expect(block.runs).toBe(3);
  expect(device.memory().live).toBe(live);
});

test('modules inside of a hooked one share its state; an error ends it', () => {
  const net = new Net();
  const states: unknown[] = [];
  const watch = (name: string): BlockHook => ({
    name,
    around: (_, args, next, state) => (states.push(state), next(...args)),
  });
  for (const module of [net, net.first, net.second]) module.addHook(watch('watch'));
  scope(() => void net.call(x));
  expect(new Set(states).size).toBe(1);

  net.second.addHook({
    name: 'fails',
    around() {
      throw new Error('no');
    },
  });
  const state = new CallState();
  expect(() => state.run(() => scope(() => void net.call(x)))).toThrow('no');
  expect(() => scope(() => void net.call(x))).toThrow('no');
  expect(currentCallState()).toBeUndefined();
  expect(() => state.run(() => Promise.resolve())).toThrow('body returned a promise');
  expect(currentCallState()).toBeUndefined();
});

test('in a trace a hook runs if it says so; otherwise the error names it', () => {
  const block = new Block();
  const record = (): number =>
    recordGraph(({ x: given }) => block.call(given!), { x }, new Map()).graph.nodes.length;
  block.addHook({ name: 'harmless', traceable: true, around: (_, args, next) => next(next(...args)) });
  expect(record()).toBe(2);
  block.addHook({ name: 'reads values' });
  expect(record).toThrow("hook 'reads values'");
});
