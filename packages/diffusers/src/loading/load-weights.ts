// Weights of components: opens their files, checks every key and shape against the models, then loads tensor by tensor,
// onto the device or into host memory. On any error nothing stays loaded.

import {
  checkStateDict,
  contiguous,
  copy,
  FormatError,
  formatShape,
  HostCopy,
  keep,
  openSafetensors,
  scope,
  shorten,
  Tensor,
} from '@darkroom/core';
import { elementCount, isContiguous, layoutOf } from '@darkroom/core/backend';
import type { AnyModule, ByteSource, Device, DType, Layout, SafetensorsFile } from '@darkroom/core';
import { gather } from './gather.ts';
import { linearFrom1x1, placed } from './key-conversion.ts';
import type { KeyConversion, Placement } from './key-conversion.ts';

/** Called after each tensor, with the bytes loaded so far and the bytes of all tensors to load. */
export interface LoadProgress {
  (loadedBytes: number, totalBytes: number): void;
}

/** Options of loadWeights. */
export interface LoadWeightsOptions {
  readonly device: Device;
  /** dtype that floating weights are converted to; default: as stored. */
  readonly dtype?: DType | undefined;
  /** True: loads the weights into host memory, without using device memory. */
  readonly toHost?: boolean;
  /** Default: the files' keys are the model's. */
  readonly convert?: KeyConversion;
  readonly onProgress?: LoadProgress;
}

/**
 * Replaces the weights of `components` (by name) by those in the files. All keys and shapes are checked before any
 * weight is read. @throws FormatError for a damaged file, and for keys and shapes that do not fit, naming them
 */
export async function loadWeights(
  components: Readonly<Record<string, AnyModule>>,
  sources: readonly ByteSource[],
  options: LoadWeightsOptions,
): Promise<void> {
  const names = sources.map((s) => s.name).join(', ');
  const wanted = new Map(Object.entries(components).map(([name, model]) => [name, shapesOf(model)]));
  const { parts, given } = await index(sources, options, wanted);
  for (const [name, shapes] of wanted) checkStateDict(shapes, given.get(name)!, names);
  for (const { file, key } of parts) file.dtypeOf(key); // an unreadable dtype is found before anything loads
  const total = parts.reduce((n, part) => n + sizeOf(part), 0);
  const loaded = new Map(Object.keys(components).map((name) => [name, new Map<string, Tensor>()]));
  let bytes = 0;
  try {
    for (const part of parts) {
      const tensors = options.toHost ? await readToHost(part, options) : await loadToDevice(part, options);
      for (const [i, { component, key }] of part.places.entries())
        loaded.get(component)!.set(key, tensors[i]!);
      options.onProgress?.((bytes += sizeOf(part)), total);
    }
    for (const [name, model] of Object.entries(components)) model.loadStateDict(loaded.get(name)!, names);
  } catch (error) {
    for (const weights of loaded.values()) for (const t of weights.values()) t.dispose();
    throw error;
  }
}

/** A tensor of a file, with its destinations. */
interface Part {
  readonly file: SafetensorsFile;
  readonly key: string;
  readonly places: readonly Place[];
}
type Place = Placement & { readonly component: string };

const shapesOf = (model: AnyModule): Map<string, readonly number[]> =>
  new Map([...model.stateDict()].map(([key, t]) => [key, t.shape]));
const sizeOf = ({ file, key }: Part): number => file.entry(key).end - file.entry(key).begin;

/** The tensors to load, in the order of the files; and by component the shapes of its new weights by key. */
async function index(
  sources: readonly ByteSource[],
  { convert = (key) => ({ key }) }: LoadWeightsOptions,
  wanted: ReadonlyMap<string, ReadonlyMap<string, readonly number[]>>,
): Promise<{ parts: Part[]; given: ReadonlyMap<string, Map<string, { shape: readonly number[] }>> }> {
  const parts: Part[] = [];
  const given = new Map(
    [...wanted.keys()].map((name) => [name, new Map<string, { shape: readonly number[] }>()]),
  );
  const from = new Map<string, string>();
  const only = wanted.size === 1 ? [...wanted.keys()][0] : undefined;
  for (const source of sources) {
    const file = await openSafetensors(source);
    for (const [key, { shape }] of file.entries) {
      const places: Place[] = [];
      for (const placement of [convert(key, shape) ?? []].flat() as Placement[]) {
        const component = placement.component ?? only;
        if (component === undefined)
          throw new FormatError(`${file.name}: '${shorten(key)}' is given to no component`);
        const known = given.get(component);
        if (!known) continue;
        const target = `${component} ${placement.key}`;
        const other = from.get(target);
        if (other !== undefined)
          throw new FormatError(
            `${file.name}: '${shorten(key)}' gives '${shorten(placement.key)}', which ${other} gives too`,
          );
        from.set(target, file.name);
        const place = fitted({ ...placement, component }, shape, wanted.get(component)!.get(placement.key));
        known.set(place.key, { shape: shapeOf(place, shape, file.name, key) });
        places.push(place);
      }
      if (places.length > 0) parts.push({ file, key, places });
    }
  }
  return { parts, given };
}

/** `place`, with a transform if the file stores a linear layer's weight as a 1x1 convolution. */
function fitted(place: Place, shape: readonly number[], model: readonly number[] | undefined): Place {
  if (place.transform || place.slice || model?.length !== 2) return place;
  const is1x1 = formatShape(shape) === formatShape([...model, 1, 1]);
  return is1x1 ? { ...place, transform: linearFrom1x1 } : place;
}

/** Shape of the placed tensor, for a file's tensor of `shape`. @throws FormatError if the placement does not apply. */
function shapeOf(place: Place, shape: readonly number[], file: string, key: string): readonly number[] {
  try {
    return scope(() => placed(Tensor.abstract('float32', shape), place).shape);
  } catch (error) {
    const how = place.transform ? ` by '${place.transform.name}'` : '';
    throw new FormatError(
      `${file}: '${shorten(key)}' ${formatShape(shape)} cannot be made '${shorten(place.key)}'${how}: ${String(error)}`,
    );
  }
}

/** Loads a part to the device: a tensor for each of its places, in order; the caller owns them. */
async function loadToDevice(
  { file, key, places }: Part,
  { device, dtype }: LoadWeightsOptions,
): Promise<Tensor[]> {
  const raw = keep(await file.load(key, { device, ...(dtype && { dtype }) }));
  try {
    return scope(() =>
      places.map((place) => {
        const view = placed(raw, place);
        const takesOver = places.length === 1 && view.elements === raw.elements;
        return keep(takesOver ? contiguous(view) : copy(view, { format: 'contiguous' }));
      }),
    );
  } finally {
    raw.dispose();
  }
}

/** Loads a part to host memory, pinned if the device supports pinning; the caller owns the placeholders. */
async function readToHost(
  { file, key, places }: Part,
  { device, dtype: asked }: LoadWeightsOptions,
): Promise<Tensor[]> {
  const { dtype, bytes } = await file.read(key, { ...(asked && { dtype: asked }) });
  const whole = Tensor.abstract(dtype, file.entry(key).shape);
  return places.map((place) => {
    const { layout } = scope(() => placed(whole, place));
    const spec = { dtype, layout: layoutOf(layout.shape) };
    return new HostCopy(
      spec,
      device,
      isWhole(layout, whole) ? bytes : gather(bytes, layout, dtype),
    ).placeholder();
  });
}

const isWhole = (layout: Layout, whole: Tensor): boolean =>
  isContiguous(layout) && layout.offset === 0 && elementCount(layout.shape) === whole.elements;
