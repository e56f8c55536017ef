const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

/** Return a number of bytes in readable form: "1.5 MiB". */
export function bytes(count: number): string {
  const unit = count < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(count) / 10));
  return `${(count / 1024 ** unit).toLocaleString("en", { maximumFractionDigits: 1 })} ${UNITS[unit]}`;
}

export const count = (value: number | null): string => value?.toLocaleString("en") ?? "–";
