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

/** Called after each tensor of the files, with the bytes that were read of those that are. */
export interface LoadProgress {
  (loadedBytes: number, totalBytes: number): void;
}

/** How weights are loaded. */
export interface LoadWeightsOptions {
  readonly device: Device;
  /** dtype that floating weights are converted to; default: as stored. */
  readonly dtype?: DType | undefined;
  /** True leaves the weights in host memory; nothing of them touches the device. */
  readonly toHost?: boolean;
  /** Default: keys of the files are those of the model. */
  readonly convert?: KeyConversion;
  readonly onProgress?: LoadProgress;
}

/**
 * Replaces the weights of `components` (by name; one for files of one model) by those in the files, checked whole before
 * anything is read. @throws FormatError for a damaged file, and for keys and shapes that do not fit, naming them.
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

/** A tensor of a file, and where it goes. */
interface Part {
  readonly file: SafetensorsFile;
  readonly key: string;
  readonly places: readonly Place[];
}
type Place = Placement & { readonly component: string };

const shapesOf = (model: AnyModule): Map<string, readonly number[]> =>
  new Map([...model.stateDict()].map(([key, t]) => [key, t.shape]));
const sizeOf = ({ file, key }: Part): number => file.entry(key).end - file.entry(key).begin;

/** Every tensor that goes somewhere, in the order of the files; and the shapes that components get, by key. */
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

/** A weight stored as a 1x1 convolution for a linear layer is taken as the layer's. */
function fitted(place: Place, shape: readonly number[], model: readonly number[] | undefined): Place {
  if (place.transform || place.slice || model?.length !== 2) return place;
  const is1x1 = formatShape(shape) === formatShape([...model, 1, 1]);
  return is1x1 ? { ...place, transform: linearFrom1x1 } : place;
}

/** What a placement makes of a tensor of `shape`. */
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

/** The tensors of a part on the device, in the order of its places; the caller keeps them. */
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

/** The same in host memory, pinned where the device can pin. */
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
