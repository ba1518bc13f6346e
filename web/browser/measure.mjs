// Arithmetic on pictures and colours, apart from the browser so that each figure has one definition.
import { PNG } from 'pngjs';

/** A channel that moves by more than this of 255 is a difference a tired eye can see. */
const VISIBLE_STEP = 32;

export function decode(buffer) {
  return PNG.sync.read(buffer);
}

/** Share of pixels, 0..1, in which two pictures of one size visibly differ. */
export function difference(one, other) {
  let differing = 0;
  for (let at = 0; at < one.data.length; at += 4) {
    if (
      Math.abs(one.data[at] - other.data[at]) > VISIBLE_STEP ||
      Math.abs(one.data[at + 1] - other.data[at + 1]) > VISIBLE_STEP ||
      Math.abs(one.data[at + 2] - other.data[at + 2]) > VISIBLE_STEP
    ) {
      differing += 1;
    }
  }
  return differing / (one.width * one.height);
}

function linear(channel) {
  const value = channel / 255;
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
}

const LINEAR = Float64Array.from({ length: 256 }, (_, channel) => linear(channel));

export function luminance([red, green, blue]) {
  return 0.2126 * LINEAR[red] + 0.7152 * LINEAR[green] + 0.0722 * LINEAR[blue];
}

export function meanLuminance(picture) {
  let sum = 0;
  for (let at = 0; at < picture.data.length; at += 4) {
    sum += luminance([picture.data[at], picture.data[at + 1], picture.data[at + 2]]);
  }
  return sum / (picture.width * picture.height);
}

/** WCAG contrast of two `rgb(r, g, b)` texts. */
export function contrast(one, other) {
  const [light, dark] = [one, other].map((text) => luminance(text.match(/\d+/g).slice(0, 3).map(Number))).sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}
