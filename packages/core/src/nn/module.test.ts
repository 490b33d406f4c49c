import { expect, test } from 'vitest';
import { nullBackend } from '../backends/null.ts';
import { Device } from '../device.ts';
import { zeros } from '../ops/fill.ts';
import { silu } from '../ops/pointwise.ts';
import { keep } from '../scope.ts';
import type { Tensor } from '../tensor.ts';
import { Conv2d, Linear } from './layers.ts';
import { Module } from './module.ts';
import { denseWeight } from './weight.ts';

class Net extends Module<[x: Tensor], Tensor> {
  conv_in: Conv2d = new Conv2d(3, 4, 3, { padding: 1 });
  blocks: Linear[] = [new Linear(4, 4), new Linear(4, 4, { bias: false })];

  override forward(x: Tensor): Tensor {
    return this.blocks[0]!.call(silu(this.conv_in.call(x)));
  }
}

function weights(net: Net, device: Device): Map<string, Tensor> {
  return new Map([...net.namedParameters()].map(([key, p]) => [key, keep(zeros(p.shape, { device }))]));
}

test('state dict keys are the paths of a checkpoint', () => {
  expect([...new Net().stateDict().keys()]).toEqual([
    'conv_in.weight',
    'conv_in.bias',
    'blocks.0.weight',
    'blocks.0.bias',
    'blocks.1.weight',
  ]);
});

test('loading checks everything before it replaces anything', () => {
  const device = new Device(nullBackend());
  const net = new Net();
  const good = weights(net, device);
  const bad = new Map(good);
  bad.delete('conv_in.bias');
  bad.set('extra', good.get('conv_in.bias')!);
  bad.set('blocks.1.weight', keep(zeros([4, 5], { device })));
  expect(() => net.loadStateDict(bad, 'unet.safetensors')).toThrow(
    'unet.safetensors: weights do not fit the model; 1 missing: conv_in.bias; 1 unexpected: extra; ' +
      '1 of a wrong shape: blocks.1.weight is [4,5] but the model has [4,4]',
  );
  expect(denseWeight(net.conv_in.weight).isAbstract).toBe(true);
  net.loadStateDict(good);
  expect(net.conv_in.weight).toBe(good.get('conv_in.weight'));
});

test('an error names the module it happened in', () => {
  const device = new Device(nullBackend());
  const net = new Net();
  net.loadStateDict(weights(net, device));
  for (const _ of net.namedModules()); // names are given by walking
  expect(() => net.call(zeros([1, 5, 4, 4], { device }))).toThrow('[conv_in] conv2d: input has 5 channels');
  expect(() => net.call(zeros([1, 3, 4, 5], { device }))).toThrow(
    '[blocks.0] linear: input has 5 features but weight expects 4',
  );
});

test('hooks run in order, may replace arguments and results, and can be removed', () => {
  const device = new Device(nullBackend());
  const net = new Linear(4, 4);
  net.loadStateDict(
    new Map([
      ['weight', keep(zeros([4, 4], { device }))],
      ['bias', keep(zeros([4], { device }))],
    ]),
  );
  const seen: string[] = [];
  const other = zeros([2, 4], { device });
  net.addHook({
    name: 'a',
    preForward: () => void seen.push('a'),
    postForward: () => void seen.push('a after'),
  });
  net.addHook({
    name: 'b',
    preForward: () => (seen.push('b'), [other]),
    postForward: (_, out) => (seen.push('b after'), out),
  });
  expect(net.call(zeros([1, 4], { device })).shape).toEqual([2, 4]);
  expect(seen).toEqual(['a', 'b', 'b after', 'a after']);
  expect(() => net.addHook({ name: 'a' })).toThrow("'a' is attached already");
  expect(net.removeHook('a')).toBe(true);
  expect(net.removeHook('a')).toBe(false);
});

test('intermediates of a forward are freed', () => {
  const device = new Device(nullBackend());
  const net = new Net();
  net.loadStateDict(weights(net, device));
  const x = zeros([1, 3, 4, 4], { device });
  const before = device.memory().live;
  const y = net.call(x);
  expect(device.memory().live - before).toBe(256);
  y.dispose();
  expect(device.memory().live).toBe(before);
});
