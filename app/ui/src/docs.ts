/** The API description, shown by Swagger UI on a separate page, so that the main page does not load Swagger UI. */

import SwaggerUI from "swagger-ui-dist/swagger-ui-es-bundle.js";
import "swagger-ui-dist/swagger-ui.css";
import { BASE } from "./api";

SwaggerUI({ url: `${BASE}/openapi.json`, dom_id: "#docs" });
