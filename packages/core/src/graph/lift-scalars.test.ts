// Graphs before and after liftScalars, as text. Suites with a device test that results stay the same.

import { expect, test } from 'vitest';
import { map } from '../ops/map.ts';
import { add, mul } from '../ops/pointwise.ts';
import { Tensor } from '../tensor.ts';
import { liftScalars } from './lift-scalars.ts';
import { printGraph } from './print.ts';
import { recordGraph } from './record.ts';

type Body = Parameters<typeof recordGraph>[0];
const row = (): Tensor => Tensor.abstract('float32', [2]);

function lifted(
  body: Body,
  names: readonly string[] = ['x'],
): { lines: string[]; numbers: readonly number[] } {
  const inputs = Object.fromEntries(names.map((name) => [name, row()]));
  const { graph, numbers } = liftScalars(recordGraph(body, inputs).graph);
  return { lines: printGraph(graph).split('\n'), numbers };
}

test('graphs that differ in numbers alone become one graph', () => {
  const step =
    (a: number, b: number): Body =>
    ({ x }) =>
      add(mul(x!, a), b);
  const [one, other] = [lifted(step(0.5, 3)), lifted(step(0.25, 7))];
  expect([one.numbers, other.numbers]).toEqual([
    [0.5, 3],
    [0.25, 7],
  ]);
  expect(one.lines).toEqual(other.lines);
  expect(one.lines.join()).toContain('numbers');
  expect(one.lines.join()).not.toContain('scalars');
});

test('without numbers there is no such input', () => {
  const { lines, numbers } = lifted(({ x }) => add(x!, x!));
  expect(numbers).toEqual([]);
  expect(lines.join()).not.toContain('numbers');
});

test('a sum that would read more than kernels can is several sums, in its order', () => {
  const names = ['a', 'b', 'c', 'd'];
  const weighted = names.map((_, i) => ['mul', ['scalar', i], ['in', i]] as const);
  const [first, ...rest] = weighted;
  const expr = rest.reduce<Parameters<typeof map>[0]>((sum, term) => ['add', sum, term], first!);
  const { lines, numbers } = lifted((x) => map(expr, names.map((n) => x[n]!), { scalars: [4, 3, 2, 1] }), names); // prettier-ignore
  expect(numbers).toEqual([4, 3, 2, 1]);
  expect(lines.filter((line) => line.includes('= map')).map((line) => line.replace(/^.*expr=/, ''))).toEqual([
    '["add",["add",["mul",["in",3],["in",0]],["mul",["in",4],["in",1]]],["mul",["in",5],["in",2]]] dtype="float32" shape=[2]',
    '["add",["in",0],["mul",["in",2],["in",1]]] dtype="float32" shape=[2]',
  ]);
});

test('what is no sum and reads too much keeps its numbers', () => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  const product = names.slice(1).reduce<Parameters<typeof map>[0]>((p, _, i) => ['mul', p, ['in', i + 1]], ['mul', ['scalar', 0], ['in', 0]]); // prettier-ignore
  const { lines, numbers } = lifted((x) => map(product, names.map((n) => x[n]!), { scalars: [2] }), names); // prettier-ignore
  expect(numbers).toEqual([]);
  expect(lines.join()).toContain('scalars=[2]');
});
