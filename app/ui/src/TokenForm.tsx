import { type FormEvent, useState } from "react";

export function NewToken() {
  return (
    <>
      Where ppm was deployed from, this prints a new one: <code>ppmctl exec api -- ppm token create NAME</code>
    </>
  );
}

export function TokenForm({ token, onChange }: { token: string; onChange: (token: string) => void }) {
  const [typed, setTyped] = useState("");

  function use(event: FormEvent) {
    event.preventDefault();
    onChange(typed.trim());
    setTyped("");
  }

  if (token) {
    return (
      <p className="token">
        This tab has an API token.{" "}
        <button type="button" className="quiet" onClick={() => onChange("")}>
          Forget it
        </button>
      </p>
    );
  }
  return (
    <form className="token" onSubmit={use}>
      <label>
        API token
        <input
          type="password"
          autoComplete="off"
          required
          value={typed}
          onChange={(event) => setTyped(event.target.value)}
        />
      </label>
      <button type="submit">Use token</button>
    </form>
  );
}
